/* SPDX-License-Identifier: MIT
 *
 * What the folded processes counted when. In a process's ring are readings of counters;
 * in totals, what was counted within each slice, so that several processes add up. When
 * there is no room, the oldest slice is forgotten: its counts are still in the totals.
 */
#include <string.h>

#include "shim/shared/fold_parts.h"
#include "shim/shared/slices.h"

struct folding {
	struct tws_header *totals;
	struct tws_slice *slices; /* of the totals */
	const struct tws_header *header;
	const struct tws_slice *records;
	uint32_t count;
};

static void *at_section(const struct tws_header *header)
{
	return (char *)(uintptr_t)header + header->slices.offset;
}

static void know_from(struct tws_header *totals, uint32_t slice)
{
	if (totals->slices_from < slice)
		totals->slices_from = slice;
}

static void forget_oldest(const struct folding *folding)
{
	struct tws_section *at = &folding->totals->slices;
	uint32_t oldest = UINT32_MAX, left = 0;

	for (uint32_t i = 0; i < at->used; i++)
		if (folding->slices[i].slice < oldest)
			oldest = folding->slices[i].slice;
	for (uint32_t i = 0; i < at->used; i++)
		if (folding->slices[i].slice != oldest)
			folding->slices[left++] = folding->slices[i];
	at->used = left;
	know_from(folding->totals, oldest + 1);
}

/* The entry of a destination in a slice, made if it is new. NULL: it is too old. */
static struct tws_slice *find_entry(const struct folding *folding, uint32_t slice,
				    uint32_t destination)
{
	struct tws_section *at = &folding->totals->slices;

	for (uint32_t i = 0; i < at->used; i++)
		if (folding->slices[i].slice == slice &&
		    folding->slices[i].destination == destination)
			return &folding->slices[i];
	while (slice >= folding->totals->slices_from && at->used >= at->count)
		forget_oldest(folding);
	if (slice < folding->totals->slices_from)
		return NULL;
	memset(&folding->slices[at->used], 0, sizeof(struct tws_slice));
	folding->slices[at->used].slice = slice;
	folding->slices[at->used].destination = destination;
	return &folding->slices[at->used++];
}

/* Adds what was counted between two readings. `before` NULL: since the beginning. */
static void add_between(const struct folding *folding, uint32_t slice,
			uint32_t destination, const uint64_t *before,
			const uint64_t *after)
{
	struct tws_slice *entry = NULL;

	for (unsigned i = 0; i < TWS_COUNTERS; i++) {
		uint64_t first = before ? before[i] : 0;

		if (!tws_counter_grows((enum tws_counter)i) || after[i] <= first)
			continue;
		if (!entry)
			entry = find_entry(folding, slice, destination);
		if (!entry)
			return;
		entry->value[i] += after[i] - first;
	}
}

/* The record of the ring that was written first after ticket `from`; NULL: none. */
static const struct tws_slice *next_record(const struct folding *folding,
					   uint32_t destination, uint64_t from)
{
	const struct tws_slice *next = NULL;

	for (uint32_t i = 0; i < folding->count; i++) {
		const struct tws_slice *at = &folding->records[i];

		if (at->destination == destination && at->sequence > from &&
		    (!next || at->sequence < next->sequence))
			next = at;
	}
	return next;
}

/* All that a destination of a process counted. Its last slice is `last`. */
static void add_history(const struct folding *folding, uint32_t from, uint32_t to,
			uint32_t last, const struct tws_counters *counters)
{
	const struct tws_slice *at = next_record(folding, from, 0);
	const uint64_t *before = NULL;

	for (; at; at = next_record(folding, from, at->sequence)) {
		add_between(folding, at->slice, to, before, at->value);
		before = at->value;
	}
	add_between(folding, last, to, before, counters->value);
}

static void add_process(const struct folding *folding, const uint16_t *index)
{
	const struct tws_header *header = folding->header;
	const struct tws_destination *from =
	    tws_fold_section(header, TWS_SECTION_DESTINATIONS);
	uint32_t count = tws_fold_used(header, TWS_SECTION_DESTINATIONS);
	uint32_t ended = tws_slice_of(header->heartbeat_ns);
	struct tws_slice *entry;

	for (uint32_t i = 0; i < count && i <= UINT16_MAX; i++)
		add_history(folding, i, index[i], from[i].slice ? from[i].slice : ended,
			    &from[i].counters);
	add_history(folding, TWS_SLICE_PROCESS, TWS_SLICE_PROCESS,
		    header->process_slice ? header->process_slice : ended,
		    tws_fold_section(header, TWS_SECTION_PROCESS));
	entry = find_entry(folding, ended, TWS_SLICE_PROCESS);
	if (!entry)
		return;
	entry->processes++;
	if (header->observer == TWS_OBSERVER_BPF ||
	    header->observer == TWS_OBSERVER_SUPERVISOR)
		entry->observed[header->observer - TWS_OBSERVER_BPF]++;
}

/* How many processes ended in a slice. */
static void add_ended(const struct folding *folding, const struct tws_slice *at)
{
	struct tws_slice *entry =
	    at->processes ? find_entry(folding, at->slice, TWS_SLICE_PROCESS) : NULL;

	if (!entry)
		return;
	entry->processes += at->processes;
	entry->observed[0] += at->observed[0];
	entry->observed[1] += at->observed[1];
}

static void add_totals(const struct folding *folding, const uint16_t *index)
{
	uint32_t known = tws_fold_used(folding->header, TWS_SECTION_DESTINATIONS);

	for (uint32_t i = 0; i < folding->count; i++) {
		const struct tws_slice *at = &folding->records[i];
		bool process = at->destination == TWS_SLICE_PROCESS;
		uint32_t to = at->destination;

		if (!process)
			to = to < known ? index[to] : 0;
		add_between(folding, at->slice, to, NULL, at->value);
		if (process)
			add_ended(folding, at);
	}
}

/* What a process began and ended within one slice belongs to that slice, also if an older
 * version counted it. */
static uint32_t known_from(const struct folding *folding)
{
	const struct tws_header *header = folding->header;
	uint32_t last = tws_slice_of(header->heartbeat_ns);
	uint32_t from = tws_slices_known_from(header, folding->records, folding->count);

	if (from != UINT32_MAX)
		return from;
	if (header->state != TWS_SEGMENT_TOTALS &&
	    tws_slice_of(header->created_monotonic_ns) == last)
		return 0;
	return last + 1;
}

void tws_fold_slices(struct tws_header *totals, const struct tws_header *header,
		     const uint16_t *index)
{
	struct folding folding = {
	    .totals = totals, .slices = at_section(totals), .header = header};
	bool usable = !tws_slices_validate(header);

	if (usable) {
		folding.records = at_section(header);
		folding.count = header->slices.used;
	}
	know_from(totals, known_from(&folding));
	if (header->state != TWS_SEGMENT_TOTALS)
		add_process(&folding, index);
	else
		add_totals(&folding, index);
}
