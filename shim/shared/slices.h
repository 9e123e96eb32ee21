/* SPDX-License-Identifier: MIT
 *
 * What was counted when. Counters only grow, so a number for a period is the difference
 * of two readings. Time is cut into slices, the same for all processes of this boot. At a
 * destination's first event in a new slice, what it had counted until then is put into a
 * ring. So its counters at the beginning of any slice are known for as long as the ring
 * holds them, and a destination without events costs nothing. The process section counts
 * as one more destination. Pure; the shim and the tools share it.
 */
#ifndef TWS_SHIM_SLICES_H
#define TWS_SHIM_SLICES_H

#include "shim/shared/segment.h"

#define TWS_SLICE_SHIFT	  38   /* a slice lasts 2^38 ns: 4 minutes and 35 seconds */
#define TWS_SLICES	  400  /* in the ring of a process */
#define TWS_SLICES_TOTALS 768  /* in a totals file */
#define TWS_SLICES_MOST	  4096 /* more are nobody's: a reader looks through them often */

/* The slice of a time on CLOCK_MONOTONIC; never 0. */
static inline uint32_t tws_slice_of(uint64_t now)
{
	return (uint32_t)(now >> TWS_SLICE_SHIFT) + 1;
}

/* When a slice begins. */
static inline uint64_t tws_slice_begins(uint32_t slice)
{
	return slice ? (uint64_t)(slice - 1) << TWS_SLICE_SHIFT : 0;
}

/* Whether a counter only grows: a gauge and a maximum have no value of a period. */
static inline bool tws_counter_grows(enum tws_counter counter)
{
	return counter != TWS_open && counter != TWS_connecting &&
	       counter != TWS_peak_open;
}

/* Moves a destination on to a new slice. Returns the slice that it leaves, whose counters
 * are to be kept: by whoever is told so. 0: nothing is to be kept. */
static inline uint32_t tws_slice_leave(uint32_t *slice, uint32_t now)
{
	uint32_t before = __atomic_load_n(slice, __ATOMIC_RELAXED);

	return before < now &&
		       __atomic_compare_exchange_n(slice, &before, now, false,
						   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)
		   ? before
		   : 0;
}

/* Fills a record of the ring. Counters are read in their order, as readers do. */
static inline void tws_slice_fill(struct tws_slice *record, uint64_t ticket,
				  const struct tws_slice *about,
				  const struct tws_counters *counters)
{
	__atomic_store_n(&record->sequence, 0, __ATOMIC_SEQ_CST);
	record->slice = about->slice;
	record->until = about->until;
	record->destination = about->destination;
	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		record->value[i] = __atomic_load_n(&counters->value[i], __ATOMIC_ACQUIRE);
	__atomic_store_n(&record->sequence, ticket + 1, __ATOMIC_RELEASE);
}

/* Says why the slices of a header cannot be used; NULL: they can. Pure. */
const char *tws_slices_validate(const struct tws_header *header);

/* The oldest slice at whose beginning all counters of this segment are known. 0: at any
 * time. UINT32_MAX: never. `records`: as many as are used. */
uint32_t tws_slices_known_from(const struct tws_header *header,
			       const struct tws_slice *records, uint32_t count);

/* Whether the record of the ring is whole. */
bool tws_slice_is_whole(const struct tws_header *header, const struct tws_slice *records,
			uint32_t index);

#endif
