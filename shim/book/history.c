/* SPDX-License-Identifier: MIT */
#include "shim/book/history.h"

#include "shim/book/memory.h"

#define LEAST 8192 /* bytes to back at once */

/* Makes a record of the ring safe to touch. The mark of used records only grows. */
static bool reach(struct tws_book *book, uint32_t place)
{
	const struct tws_section *at = &book->slices;
	uint32_t ready = __atomic_load_n(&book->slices_ready, __ATOMIC_RELAXED);
	uint32_t wanted = place + LEAST / sizeof(struct tws_slice);
	uint64_t from = at->offset + (uint64_t)ready * sizeof(struct tws_slice);

	if (place >= at->count)
		return false;
	if (place >= ready) {
		if (wanted > at->count)
			wanted = at->count;
		if (!tws_memory_back((char *)book->header + from,
				     (uint64_t)(wanted - ready) *
					 sizeof(struct tws_slice)))
			return false;
		tws_raise_u32(&book->slices_ready, wanted);
	}
	tws_raise_u32(&book->header->slices.used, place + 1);
	return true;
}

void tws_history_keep(struct tws_book *book, struct tws_destination *entry,
		      uint32_t slice)
{
	const struct tws_counters *counters = entry ? &entry->counters : book->process;
	const struct tws_slice about = {
	    .slice = tws_slice_leave(entry ? &entry->slice : &book->header->process_slice,
				     slice),
	    .until = slice,
	    .destination =
		entry ? (uint32_t)(entry - book->destinations) : TWS_SLICE_PROCESS};
	uint64_t ticket;
	uint32_t place;

	if (!about.slice || !book->slices.count)
		return;
	ticket = __atomic_fetch_add(&book->header->slice_tickets, 1, __ATOMIC_RELAXED);
	place = (uint32_t)(ticket % book->slices.count);
	if (reach(book, place))
		tws_slice_fill((struct tws_slice *)(void *)((char *)book->header +
							    book->slices.offset) +
				   place,
			       ticket, &about, counters);
}
