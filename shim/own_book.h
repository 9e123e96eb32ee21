/* SPDX-License-Identifier: MIT
 *
 * This process's own book: made at its first connection.
 */
#ifndef TWS_SHIM_OWN_BOOK_H
#define TWS_SHIM_OWN_BOOK_H

#include "shim/book/books.h"

/* Slow half of tws_book_own(). */
TWS_COLD struct tws_book *tws_book_make(void);

/* This process's own book; made if there is none. NULL: cannot be had, stay unobserved.
 * After a failure it is tried again, at most once a second. */
static inline struct tws_book *tws_book_own(void)
{
	struct tws_book *own = __atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE);

	return tws_likely(own != NULL) ? own : tws_book_make();
}

/* After a change of user IDs: the next connection looks for the book of the new user. */
TWS_COLD void tws_own_book_put_aside(void);

/* In a forked child: try at once, although the parent may have failed just now. */
void tws_own_book_forked(void);

#endif
