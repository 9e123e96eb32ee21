/* SPDX-License-Identifier: MIT
 *
 * Which connection is this descriptor; its one way in and its one way out.
 *
 * The descriptor table (book/fds.h) leads to a slot in a book. The slot's state and
 * generation change as one word, so whoever moves it (a thread, a signal handler, another
 * process that shares the connection) moves it once.
 *
 *   CLAIMED -> CONNECTING -> OPEN -> ENDING -> FREE
 *
 * Everything here is async-signal-safe and sets no errno.
 */
#ifndef TWS_SHIM_CONN_H
#define TWS_SHIM_CONN_H

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/book/books.h"
#include "shim/book/fds.h"
#include "shim/shared/ending.h"
#include "shim/shared/hot.h"
#include "shim/shared/sys.h"

/* More flags, of no use to readers: the program set SO_RCVLOWAT above 1; set
 * IP_BIND_ADDRESS_NO_PORT: its next bind() to port 0 takes none; called connect() again
 * before it was connected. And: its attempt is counted under `other`, until connect() has
 * returned; whoever clears this decides where it stays. And: a stream writes to it, which
 * exit() flushes after us. New ones from the top down: those
 * of the enum grow towards them. */
#define TWS_CONN_LOW_WATER   (1u << 24)
#define TWS_CONN_APP_NO_PORT (1u << 29)
#define TWS_CONN_AGAIN	     (1u << 28)
#define TWS_CONN_UNNAMED     (1u << 27)
#define TWS_CONN_STREAM	     (1u << 26)

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* A slot as it was when looked at. */
struct tws_conn {
	struct tws_book *book; /* NULL: no connection */
	struct tws_connection *slot;
	uint32_t word; /* in the table */
	uint32_t generation;
};

/* Where a connection counts: its destination and its arm (NULL: none), looked up once for
 * all that is counted at one step. */
struct tws_tally {
	struct tws_counters *destination;
	struct tws_counters *arm;
};

/* The book that a table word leads to; NULL: none. Touches no slot. */
static inline struct tws_book *tws_conn_book(uint32_t word)
{
	struct tws_book *book = &tws_books[word >> 24 & (TWS_BOOKS - 1)];

	return word & TWS_FD_SLOT && book->header ? book : NULL;
}

/* The connection of a table word that leads to this book. */
static inline struct tws_conn tws_conn_in(struct tws_book *book, uint32_t word)
{
	struct tws_connection *slot = &book->connections[word & 0xffffff];

	return (struct tws_conn){book, slot, word,
				 __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE)};
}

/* The connection of a table word; book NULL where it is none. */
static inline struct tws_conn tws_conn_of(uint32_t word)
{
	struct tws_book *book = tws_conn_book(word);

	return book ? tws_conn_in(book, word) : (struct tws_conn){.word = word};
}

static inline enum tws_conn_state tws_conn_state(const struct tws_connection *slot)
{
	return (enum tws_conn_state)__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
}

/* Flags of a socket or connection, by descriptor; 0 for others. */
uint32_t tws_conn_flags(int fd);
void tws_conn_flags_change(int fd, uint32_t set, uint32_t clear);

/* ------------------------------------------------------------------- way in */

/* Takes a slot of `book`, this process's own, for the socket `fd`: state CLAIMED, with
 * the socket's cookie, and its word in the table. False: there is no room, the book was
 * lost (tws_own_book changed), or another thread put a word there meanwhile, which stays.
 */
TWS_OURS bool tws_conn_claim(int fd, uint32_t flags, struct tws_book *book,
			     struct tws_conn *ret_conn);

/* CONNECTING -> CLAIMED, and the attempt was none. */
void tws_conn_unattempt(const struct tws_conn *conn);

/* CONNECTING -> OPEN, at `now`, on the word of SO_ERROR = 0. False: moved by others. */
bool tws_conn_believe(const struct tws_conn *conn, uint64_t now);

/* OPEN -> CLAIMED: was believed established, and is not. */
void tws_conn_disbelieve(const struct tws_conn *conn, int error);

/* CONNECTING -> CLAIMED (the socket lives on): connect() failed with `error`. */
void tws_conn_fail(const struct tws_conn *conn, int error);

/* ------------------------------------------------------------------ way out */

/* All that is to be known when a connection may be about to end. */
struct tws_end {
	struct tws_conn conn;
	int fd;
	uint32_t word;
	enum tws_via via;
	struct tws_verdict verdict;
	uint64_t bytes_sent;
	uint64_t bytes_received;
	bool ends;    /* the last descriptor of this process goes */
	bool shared;  /* ask the kernel afterwards whether it lives on elsewhere */
	bool recheck; /* ask it whether TIME_WAIT stands after all */
	struct tws_address local; /* with shared and recheck */
};

/* Looks at the socket and decides. Changes nothing. False: `fd` is no connection of ours
 * (any more); a stale one has been counted as unseen. */
TWS_OURS bool tws_conn_look(int fd, enum tws_via via, struct tws_end *ret_end);

/* The descriptor goes: takes it out of the table, and counts the ending if it is one that
 * needs no later look. To be called before the real call. */
TWS_OURS void tws_conn_detach(struct tws_end *end);

/* After the real call: settles a connection that is shared or to be rechecked. */
void tws_conn_settle(struct tws_end *end);

/* Leaves a shared connection to its other holders: our part in it is over, and if nobody
 * tells more, it ended as `end` says. */
void tws_conn_leave(const struct tws_end *end);

/* Ends a connection as it stands, without a descriptor going (AF_UNSPEC, exit). */
TWS_OURS void tws_conn_end(const struct tws_end *end);

/* The number of this entry came up again although we saw no close: gone unseen. */
TWS_COLD void tws_conn_vanished(int fd, uint32_t word);

/* `to` is now the same open file as `from`. `own`: the own book, where `from` is a socket
 * that has no slot yet; else NULL. */
void tws_conn_copied(int from, int to, struct tws_book *own);

/* Marks every open connection of the own book as maybe held by another process. */
void tws_conn_share_all(void);

/* The same for sockets that are not connected yet, and for them alone. */
void tws_conn_share_sockets(void);

/* A child that has no part in the books keeps `fd` over its exec. */
TWS_COLD void tws_conn_handed_on(int fd);

/* Whether a pointer of the client's can be one: before the kernel has looked at it, a
 * wrong one must give EFAULT there and not a fault here. A tag in the top byte is none of
 * the address (arm64). */
static inline bool tws_conn_plausible(const void *pointer)
{
	uintptr_t address = (uintptr_t)pointer & ~TWS_TAG_BITS;

	return address - 4096 < (1UL << TWS_ADDRESS_BITS) - 4096;
}

/* Slow half of tws_conn_address(). */
TWS_COLD bool tws_conn_address_ipv6(const struct sockaddr_in6 *in6, socklen_t length,
				    struct tws_address *ret_address);

/* The network address of a socket address; false: not TCP over IP. */
static inline bool tws_conn_address(const struct sockaddr *address, socklen_t length,
				    struct tws_address *ret_address)
{
	const struct sockaddr_in *in = (const void *)address;

	memset(ret_address, 0, sizeof(*ret_address));
	if (tws_unlikely(length < sizeof(*in)))
		return false;
	ret_address->port = ntohs(in->sin_port);
	if (tws_unlikely(in->sin_family != AF_INET))
		return tws_conn_address_ipv6((const void *)address, length, ret_address);
	ret_address->family = TWS_IPV4;
	memcpy(ret_address->bytes, &in->sin_addr, 4);
	return true;
}

/* The table word of a descriptor that we never saw made: a TCP socket over IP, or 0. */
TWS_COLD uint32_t tws_conn_ask_socket(int fd);

/* The address of a socket's end: SYS_getsockname, SYS_getpeername. False: it has none,
 * and the answer is empty. */
TWS_COLD bool tws_conn_name(int fd, long call, struct tws_address *ret_address);

/* Slow half of tws_conn_cookie(): without the probe, or after it has failed. */
TWS_COLD uint64_t tws_conn_cookie_after(int fd, struct tws_book *book, long error);

/* SO_COOKIE; 0: not a socket. At no further cost finds out whether the book's file was
 * cut since, so that touching it would raise SIGBUS; if so, it is let go. */
static inline uint64_t tws_conn_cookie(int fd, struct tws_book *book)
{
	uint64_t cookie = 0;
	long ret = tws_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, book->probe);

	return tws_likely(ret == 0) ? cookie : tws_conn_cookie_after(fd, book, ret);
}

#endif
