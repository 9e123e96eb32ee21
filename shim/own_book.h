/* SPDX-License-Identifier: MIT
 *
 * This process's own book, which is made at its first connection.
 */
#ifndef TWS_SHIM_OWN_BOOK_H
#define TWS_SHIM_OWN_BOOK_H

#include "shim/book/books.h"

/* Slow half of tws_book_own(). */
TWS_COLD struct tws_book *tws_book_make(void);

/* This process's own book, made if there is none. NULL: it cannot be made, and the
 * process stays unobserved; the next try is at least a second later. */
static inline struct tws_book *tws_book_own(void)
{
	struct tws_book *own = __atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE);

	return tws_likely(own != NULL) ? own : tws_book_make();
}

/* Before the first connection, where a call asks what the policy says: looks for one
 * without making a book. A process pays for the look once. */
TWS_COLD void tws_policy_seek(void);

/* To be called after a change of user IDs: the next connection looks for the new
 * user's book. */
TWS_COLD void tws_own_book_put_aside(void);

/* To be called in a forked child: it may try at once, although its parent has just
 * failed. */
void tws_own_book_forked(void);

#endif
