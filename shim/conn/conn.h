/* SPDX-License-Identifier: MIT
 *
 * Which connection a descriptor belongs to; a connection's single way in and single way
 * out.
 *
 * The descriptor table (book/fds.h) leads to a slot in a book. The slot's state and
 * generation change as one word, so only one of several (a thread, a signal handler,
 * another process that shares the connection) can make a given move.
 *
 *   CLAIMED -> CONNECTING -> OPEN -> ENDING -> FREE
 *
 * Everything here is async-signal-safe and leaves errno alone.
 */
#ifndef TWS_SHIM_CONN_H
#define TWS_SHIM_CONN_H

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/book/destinations.h"
#include "shim/book/fds.h"
#include "shim/conn/facts.h"
#include "shim/shared/ending.h"
#include "shim/shared/hot.h"
#include "shim/shared/newer.h"
#include "shim/shared/sys.h"

/* Flags that readers do not need. LOW_WATER: the program set SO_RCVLOWAT above 1.
 * APP_NO_PORT: it set IP_BIND_ADDRESS_NO_PORT, so its next bind() to port 0 takes no
 * port. AGAIN: it called connect() again before it was connected. UNNAMED: no connect()
 * has set the destination yet, and an attempt is counted under `other`; whoever clears
 * that flag decides where it stays. STREAM: a stdio stream writes to it, which
 * exit() flushes after us. New flags are taken from the top down, because those of the
 * enum grow towards them. */
#define TWS_CONN_LOW_WATER   (1u << 24)
#define TWS_CONN_APP_NO_PORT (1u << 29)
#define TWS_CONN_AGAIN	     (1u << 28)
#define TWS_CONN_UNNAMED     (1u << 27)
#define TWS_CONN_STREAM	     (1u << 26)
#define TWS_CONN_PRIVATE                                                                 \
	(TWS_CONN_LOW_WATER | TWS_CONN_APP_NO_PORT | TWS_CONN_AGAIN | TWS_CONN_UNNAMED | \
	 TWS_CONN_STREAM)

TWS_ASSERT(!(TWS_CONN_PRIVATE &
	     (TWS_CONN_PORT_RING | TWS_CONN_PORT_RANGE | TWS_CONN_POLICY_COUNTED |
	      TWS_CONN_ADOPTED | TWS_CONN_SHUT_READ)));

/* A slot, as it was when somebody looked at it. */
struct tws_conn {
	struct tws_book *book; /* NULL: no connection */
	struct tws_connection *slot;
	uint32_t word; /* in the table */
	uint32_t generation;
};

/* Where a connection is counted: its destination and its arm (NULL: none), looked up
 * once for all that is counted in one step. */
struct tws_tally {
	struct tws_counters *destination;
	struct tws_counters *arm;
};

/* The book that a table word leads to, or NULL. Touches no slot. */
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

/* The connection of a table word. `book` is NULL if there is none. */
static inline struct tws_conn tws_conn_of(uint32_t word)
{
	struct tws_book *book = tws_conn_book(word);

	return book ? tws_conn_in(book, word) : (struct tws_conn){.word = word};
}

static inline enum tws_conn_state tws_conn_state(const struct tws_connection *slot)
{
	return (enum tws_conn_state)__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
}

/* Flags of a socket or connection by descriptor; 0 for any other descriptor. */
uint32_t tws_conn_flags(int fd);
void tws_conn_flags_change(int fd, uint32_t set, uint32_t clear);

/* ------------------------------------------------------------------- way in */

/* Takes a slot of `book`, this process's own, for the socket `fd`: state CLAIMED, or
 * CONNECTING since `began_ns` if that is not 0, with the socket's cookie, and its word in
 * the table. False: there is no room, the book was
 * lost (tws_own_book changed), or another thread put a word there meanwhile, which stays.
 */
TWS_OURS bool tws_conn_claim(int fd, uint32_t flags, uint64_t began_ns,
			     struct tws_book *book, struct tws_conn *ret_conn);

/* CONNECTING -> CLAIMED: there was no attempt after all. */
void tws_conn_unattempt(const struct tws_conn *conn);

/* CONNECTING -> OPEN at `now`, because SO_ERROR was 0. False: somebody else moved it. */
bool tws_conn_believe(const struct tws_conn *conn, uint64_t now);

/* OPEN -> CLAIMED: it was believed to be established, and is not. */
void tws_conn_disbelieve(const struct tws_conn *conn, int error);

/* CONNECTING -> CLAIMED (the socket lives on): connect() failed with `error`. */
void tws_conn_fail(const struct tws_conn *conn, int error);

/* ------------------------------------------------------------------ way out */

/* Everything to know about a connection that may be about to end. */
struct tws_end {
	struct tws_conn conn;
	int fd;
	uint32_t word;
	enum tws_via via;
	struct tws_verdict verdict;
	struct tws_bytes bytes;
	bool ends;    /* the last descriptor of this process is closed */
	bool shared;  /* ask the kernel afterwards whether another process holds it */
	bool recheck; /* ask the kernel afterwards whether TIME_WAIT exists after all */
	struct tws_address local; /* set if `shared` or `recheck` is */
};

/* Looks at the socket and decides how the connection ends; changes nothing. False:
 * `fd` is no longer a connection of ours, and a stale one was counted as unseen. */
TWS_OURS bool tws_conn_look(int fd, enum tws_via via, struct tws_end *ret_end);

/* What a caller has asked about the socket already. */
struct tws_asked {
	uint64_t cookie;
	int events; /* what poll() returned; -1: it was not called */
};

/* The same for a descriptor that leads to this slot. */
bool tws_conn_look_at(int fd, const struct tws_conn *conn, enum tws_via via,
		      struct tws_asked asked, struct tws_end *ret_end);

/* Decides once more, after time has passed or a policy has set an option. */
TWS_COLD void tws_conn_judge_again(struct tws_end *end);

/* Takes the descriptor out of the table, and counts the ending unless it needs a later
 * look. To be called before the real call. */
TWS_OURS void tws_conn_detach(struct tws_end *end);

/* Both at once, for a descriptor with that word in the table. Returns whether there is
 * something to settle after the real call, and then `ret_end` is filled. */
TWS_OURS bool tws_conn_close(int fd, uint32_t word, enum tws_via via,
			     struct tws_end *ret_end);

/* After the real call: settles a connection that is shared or to be rechecked. */
void tws_conn_settle(struct tws_end *end);

/* Leaves a shared connection to its other holders. If nobody says more, it ended as
 * `end` says. */
void tws_conn_leave(const struct tws_end *end);

/* Ends a connection although no descriptor was closed (exit). */
TWS_OURS void tws_conn_end(const struct tws_end *end);

/* Ends a connection whose socket lives on, unconnected, and may connect again. `keep`:
 * the flags that are of the socket. */
TWS_COLD void tws_conn_dissolve(const struct tws_end *end, uint32_t keep);

/* This descriptor number was given out again although we saw no close: counts the
 * former connection as unseen. */
TWS_COLD void tws_conn_vanished(int fd, uint32_t word);

/* `to` is now the same open file as `from`. `own`: the own book, where `from` is a socket
 * that has no slot yet; else NULL. */
void tws_conn_copied(int from, int to, struct tws_book *own);

/* Marks every open connection of the own book as one that another process may hold. */
void tws_conn_share_all(void);

/* The same for sockets that are not connected yet, and for them alone. */
void tws_conn_share_sockets(void);

/* A child that has no part in the books keeps `fd` over its exec. */
TWS_COLD void tws_conn_handed_on(int fd);

/* Whether a pointer of the client can be an address at all. A wrong one must give
 * EFAULT in the kernel and not a fault here. A tag in the top byte is not part of the
 * address (arm64). */
static inline bool tws_conn_plausible(const void *pointer)
{
	uintptr_t address = (uintptr_t)pointer & ~TWS_TAG_BITS;

	return address - 4096 < TWS_ADDRESS_END - 4096;
}

/* Slow half of tws_conn_address(). */
TWS_COLD bool tws_conn_address_ipv6(const struct sockaddr_in6 *in6, socklen_t length,
				    struct tws_address *ret_address);

/* Converts a socket address to a network address. False: it is not TCP over IP. */
static inline bool tws_conn_address(const struct sockaddr *address, socklen_t length,
				    struct tws_address *ret_address)
{
	const struct sockaddr_in *in = (const void *)address;

	if (tws_unlikely(length < sizeof(*in) || in->sin_family != AF_INET))
		return tws_conn_address_ipv6((const void *)address, length, ret_address);
	tws_address_set(ret_address, in->sin_addr.s_addr, 0,
			ntohs(in->sin_port) | TWS_IPV4 << 16);
	return true;
}

/* The table word of a descriptor that we never saw made: a TCP socket over IP, or 0. */
TWS_COLD uint32_t tws_conn_ask_socket(int fd);

/* The address of one end of a socket: SYS_getsockname or SYS_getpeername. False: it
 * has none, and the answer is empty. */
TWS_COLD bool tws_conn_name(int fd, long call, struct tws_address *ret_address);

/* The cookie of a socket. Where the kernel tells none, a number made of its inode, with
 * TWS_COOKIE_INODE set (shim/shared/pair.h). Returns 0, or a negative errno. */
TWS_COLD long tws_conn_ask_cookie(int fd, uint64_t *ret_cookie);

/* Slow half of tws_conn_cookie(): works without the probe, after the probe has failed. */
TWS_COLD uint64_t tws_conn_cookie_after(int fd, struct tws_book *book, long error);

/* SO_COOKIE, or 0 if it is not a socket. The same call finds out whether the book's
 * file was truncated, so that touching it would raise SIGBUS; if so, the book is let
 * go. */
static inline uint64_t tws_conn_cookie(int fd, struct tws_book *book)
{
	uint64_t cookie = 0;
	long ret = tws_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, book->probe);

	return tws_likely(ret == 0) ? cookie : tws_conn_cookie_after(fd, book, ret);
}

#endif
