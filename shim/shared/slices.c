/* SPDX-License-Identifier: MIT */
#include "shim/shared/slices.h"

#include <stddef.h>

static bool is_totals(const struct tws_header *header)
{
	return header->state == TWS_SEGMENT_TOTALS;
}

const char *tws_slices_validate(const struct tws_header *header)
{
	const struct tws_section *at = &header->slices;

	if (at->count == 0 || is_totals(header) != (at->ready == TWS_SLICES_OF_TOTALS))
		return "no slices";
	if (at->element_size != sizeof(struct tws_slice) || at->offset % 64 != 0 ||
	    at->offset < header->header_size || at->offset > header->size ||
	    at->count > (header->size - at->offset) / at->element_size ||
	    at->used > at->count || at->count > TWS_SLICES_MOST)
		return "bad slices";
	return NULL;
}

bool tws_slice_is_whole(const struct tws_header *header, const struct tws_slice *records,
			uint32_t index)
{
	const uint64_t tickets = header->slice_tickets;
	const uint64_t sequence = records[index].sequence;

	return is_totals(header) ||
	       (sequence && (sequence - 1) % header->slices.count == index &&
		sequence <= tickets && tickets - sequence < header->slices.count);
}

/* What was overwritten was written before the oldest record that is left. */
static uint32_t oldest_left(const struct tws_slice *records, uint32_t count)
{
	uint32_t oldest = UINT32_MAX;

	for (uint32_t i = 0; i < count; i++)
		if (records[i].until < oldest)
			oldest = records[i].until;
	return oldest == UINT32_MAX ? oldest : oldest + 1;
}

uint32_t tws_slices_known_from(const struct tws_header *header,
			       const struct tws_slice *records, uint32_t count)
{
	const uint64_t tickets = header->slice_tickets;
	uint64_t whole = 0;

	if (tws_slices_validate(header))
		return UINT32_MAX;
	if (is_totals(header))
		return header->slices_from;
	for (uint32_t i = 0; i < count; i++)
		whole += tws_slice_is_whole(header, records, i);
	if (whole < (tickets < header->slices.count ? tickets : header->slices.count))
		return UINT32_MAX;
	return tickets > header->slices.count ? oldest_left(records, count) : 0;
}
