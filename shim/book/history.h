/* SPDX-License-Identifier: MIT
 *
 * Keeps what was counted until the end of a slice of time; see shim/shared/slices.h. To
 * be called before an event is counted. It is one comparison, unless the event is the
 * first of its destination in this slice.
 */
#ifndef TWS_SHIM_HISTORY_H
#define TWS_SHIM_HISTORY_H

#include "shim/book/destinations.h"
#include "shim/shared/slices.h"

/* Slow half of the two below. `entry` NULL: the process section. */
TWS_COLD void tws_history_keep(struct tws_book *book, struct tws_destination *entry,
			       uint32_t slice);

static inline TWS_ALWAYS_INLINE void
tws_history_note(struct tws_book *book, struct tws_destination *entry, uint64_t now)
{
	const uint32_t slice = tws_slice_of(now);

	if (tws_unlikely(__atomic_load_n(&entry->slice, __ATOMIC_RELAXED) != slice))
		tws_history_keep(book, entry, slice);
}

/* The same for what belongs to no destination. */
static inline void tws_history_note_process(struct tws_book *book, uint64_t now)
{
	tws_history_keep(book, NULL, tws_slice_of(now));
}

/* Counts a socket that was inherited or received. */
static inline void tws_history_adopted(struct tws_book *book,
				       const struct tws_address *remote, uint64_t now)
{
	struct tws_destination *entry =
	    &book->destinations[tws_book_destination(book, remote)];

	tws_history_note(book, entry, now);
	tws_add(&entry->counters.value[TWS_adopted], 1);
}

#endif
