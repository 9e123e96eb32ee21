/* SPDX-License-Identifier: MIT
 *
 * What the two halves of connect(), hook_connect.c and hook_connected.c, share.
 */
#ifndef TWS_SHIM_CONNECT_H
#define TWS_SHIM_CONNECT_H

#include "shim/conn/conn_move.h"
#include "shim/conn/fresh.h"
#include "shim/hooks.h"
#include "shim/own_book.h"
#include "shim/shared/hot.h"

/* If the book's file was truncated, a new book is made, once. */
static inline bool tws_connect_claim(int fd, uint32_t flags, uint64_t began_ns,
				     struct tws_conn *ret_conn)
{
	struct tws_book *own = tws_book_own();

	if (tws_likely(own && tws_conn_claim(fd, flags, began_ns, own, ret_conn)))
		return true;
	if (own && own == __atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE))
		return false;
	if (own)
		own = tws_book_own();
	if (!own)
		tws_count_process(TWS_unobserved);
	return own && tws_conn_claim(fd, flags, began_ns, own, ret_conn);
}

static inline void tws_connect_note_use(struct tws_book *book, uint64_t now)
{
	tws_seen(book, now);
	tws_book_recall(book, now);
}

static inline void tws_connect_set_destination(const struct tws_conn *conn,
					       const struct tws_address *remote)
{
	conn->slot->remote = *remote;
	conn->slot->destination = tws_book_destination(conn->book, remote);
}

#define TWS_CONNECT_OPTIONS                                                              \
	(TWS_CONN_APP_BOUND_0 | TWS_CONN_LATE_BIND | TWS_CONN_APP_LINGER_0 |             \
	 TWS_CONN_APP_LINGER_N | TWS_CONN_APP_REUSEADDR)

/* Counts what the program did to the socket before connect(). */
TWS_COLD void tws_connect_count_options(const struct tws_conn *conn, uint32_t flags);

static inline void tws_connect_count(struct tws_connecting *connecting,
				     struct tws_tally tally)
{
	const struct tws_conn *conn = &connecting->conn;

	connecting->tally = tally;
	tws_tally_add(tally, TWS_attempts, 1);
	if (tws_unlikely(conn->slot->flags & TWS_CONNECT_OPTIONS))
		tws_connect_count_options(conn, conn->slot->flags);
}

/* The kernel refuses an address of any other length unseen. */
static inline bool tws_connect_may_have(socklen_t length)
{
	return length >= sizeof(sa_family_t) && length <= sizeof(struct sockaddr_storage);
}

/* Begins an attempt whose destination is set. */
TWS_COLD void tws_connect_begin(struct tws_connecting *connecting);

/* The TCP state of a socket; TCP_CLOSE if it is not known. */
TWS_COLD int tws_connect_state(int fd);

/* AF_UNSPEC dissolves the association, and the kernel resets an established
 * connection. Notes how the connection ends by that. */
TWS_COLD void tws_connect_dissolve(int fd, struct tws_connecting *connecting);

/* After the real call: the socket may connect again, as a new connection. */
TWS_COLD void tws_connect_dissolved(const struct tws_end *end);

#endif
