/* SPDX-License-Identifier: MIT
 *
 * Keeps what was counted until the end of a slice of time; see shim/shared/slices.h. To
 * be called before an event is counted. It is one comparison, unless the event is the
 * first of its destination in this slice.
 */
#ifndef TWS_SHIM_HISTORY_H
#define TWS_SHIM_HISTORY_H

#include "shim/book/books.h"
#include "shim/shared/slices.h"

/* Slow half of the two below. */
TWS_COLD void tws_history_keep(struct tws_book *book, uint32_t destination,
			       uint32_t slice);

static inline TWS_ALWAYS_INLINE void tws_history_note(struct tws_book *book,
						      uint32_t destination, uint64_t now)
{
	const uint32_t *at = &book->destinations[destination].slice;

	if (tws_unlikely(__atomic_load_n(at, __ATOMIC_RELAXED) != tws_slice_of(now)))
		tws_history_keep(book, destination, tws_slice_of(now));
}

/* The same for what belongs to no destination. */
static inline void tws_history_note_process(struct tws_book *book, uint64_t now)
{
	tws_history_keep(book, TWS_SLICE_PROCESS, tws_slice_of(now));
}

/* Counts a socket that was inherited or received. */
static inline void tws_history_adopted(struct tws_book *book,
				       const struct tws_address *remote, uint64_t now)
{
	uint16_t at = tws_book_destination(book, remote);

	tws_history_note(book, at, now);
	tws_add(&book->destinations[at].counters.value[TWS_adopted], 1);
}

#endif
