/* SPDX-License-Identifier: MIT
 *
 * Whether a book's file was truncated, for steps that touch a slot without asking
 * anything about a socket first. A file that was seen whole within the last ten
 * milliseconds (TWS_FRESH_NS) is not checked again, which saves the system call.
 */
#ifndef TWS_SHIM_FRESH_H
#define TWS_SHIM_FRESH_H

#include "shim/conn/conn.h"
#include "shim/shared/sys.h"

static inline void tws_seen(struct tws_book *book, uint64_t now)
{
	__atomic_store_n(&book->seen_ns, now, __ATOMIC_RELAXED);
}

/* Slow half of tws_freshen(). */
void tws_freshen_book(struct tws_book *book);

/* To be called before the slot of `fd` is touched. If its file was truncated, the
 * descriptor leads nowhere afterwards. */
static inline void tws_freshen(int fd)
{
	struct tws_book *book = tws_conn_book(tws_fd(fd));

	if (book)
		tws_freshen_book(book);
}

#endif
