/* SPDX-License-Identifier: MIT
 *
 * A part of the segment (segment.h), and of its ABI: what was counted when.
 */
#ifndef TWS_SHIM_SLICE_STRUCT_H
#define TWS_SHIM_SLICE_STRUCT_H

#include <stdint.h>

/* Room for further counters, so that adding one does not change the layout. */
#define TWS_COUNTER_ROOM 64

#define TWS_SLICE_PROCESS UINT32_MAX

/* `ready` of the section in totals: what an older version copied there is not meant. */
#define TWS_SLICES_OF_TOTALS 0x746f7473u

/* What a destination had counted at the end of a slice of time in which it was active.
 * In a ring: ticket t is at t % count. In totals: what it counted within the slice, in
 * no order. See shim/shared/slices.h. */
struct tws_slice {
	uint64_t sequence;    /* atomic; ticket + 1, 0 while it is written */
	uint32_t slice;	      /* when it was counted */
	uint32_t until;	      /* the slice of its next event. Totals: 0 */
	uint32_t destination; /* index; TWS_SLICE_PROCESS: the process section */
	uint32_t processes;   /* totals: those that ended in the slice, with the process
				 section */
	uint32_t observed[2]; /* of these: that BPF observed, that a supervisor did */
	uint64_t value[TWS_COUNTER_ROOM]; /* by enum tws_counter */
};

#endif
