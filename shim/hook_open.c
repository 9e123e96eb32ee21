/* SPDX-License-Identifier: MIT
 *
 * How connections are born: socket, bind, connect and what does the same by other names.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "shim/shared/clock.h"
#include "shim/conn/conn_move.h"
#include "shim/conn/fresh.h"
#include "shim/hooks.h"
#include "shim/own_book.h"
#include "shim/shared/hot.h"
#include "shim/policy/policy.h"
#include "shim/process.h"
#include "shim/shared/sys.h"

static TWS_COLD void gone_unseen(int fd)
{
	tws_freshen(fd);
	tws_conn_vanished(fd, tws_fd(fd));
}

static inline void made(int fd, uint32_t word)
{
	uint32_t stale = tws_fd(fd);

	if ((!stale && !word) || (unsigned)fd >= TWS_FDS || !tws_may_work())
		return;
	if (tws_unlikely(stale))
		gone_unseen(fd);
	tws_fd_set(fd, word);
}

TWS_HOT void tws_hook_made(int fd, uint32_t word)
{
	made(fd, word);
}

TWS_HOT void tws_hook_socket(int fd, int domain, int type, int protocol)
{
	uint32_t word = 0;

	if ((domain == AF_INET || domain == AF_INET6) && (type & 0xf) == SOCK_STREAM &&
	    (protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP))
		word = TWS_FD_SOCKET | (domain == AF_INET6 ? TWS_CONN_IPV6 : 0) |
		       (protocol == IPPROTO_MPTCP ? TWS_CONN_MPTCP : 0);
	made(fd, word);
}

static bool is_port_0(const struct sockaddr *address, socklen_t length)
{
	return length >= sizeof(struct sockaddr_in) &&
	       ((const struct sockaddr_in *)(const void *)address)->sin_port == 0;
}

void tws_hook_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	uint32_t word = tws_fd(fd);

	if (!word || !tws_conn_plausible(address) || !tws_may_work() ||
	    !tws_policy_active(tws_now()))
		return;
	tws_freshen(fd);
	tws_apply_bind(fd, is_port_0(address, length));
}

/* Where the program set IP_BIND_ADDRESS_NO_PORT before, its port is picked at connect(),
 * for that destination alone: no early bind. */
void tws_hook_bound(int fd, const struct sockaddr *address, socklen_t length)
{
	uint32_t set = TWS_CONN_APP_BOUND;

	if (!tws_fd(fd) || !tws_may_work())
		return;
	tws_freshen(fd);
	if (is_port_0(address, length) && !(tws_conn_flags(fd) & TWS_CONN_APP_NO_PORT))
		set |= TWS_CONN_APP_BOUND_0;
	tws_conn_flags_change(fd, set, 0);
}

/* A process all of whose binds fail has no connection and no book, and must be seen. */
void tws_hook_bind_failed(int fd, int error)
{
	if (!tws_fd(fd) || error == EFAULT || !tws_may_work() || !tws_book_own())
		return;
	tws_count_process(error == EADDRINUSE ? TWS_bind_failed_in_use
					      : TWS_bind_failed_other);
}

void tws_hook_listening(int fd)
{
	if (tws_fd(fd) & TWS_FD_SOCKET && tws_may_work())
		tws_fd_set(fd, 0);
}

/* ----------------------------------------------------------------- connect */

/* One that was accepted, or connected where we could not see it, is not ours to open, nor
 * to have a policy; nor is one that listens. */
static bool may_be_opened(int fd)
{
	uint8_t state = 0; /* tcpi_state, the first byte */
	uint32_t length = sizeof(state);

	if (tws_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length) != 0)
		return true;
	return state == TCP_CLOSE || state == TCP_SYN_SENT;
}

/* AF_UNSPEC dissolves the association; the kernel resets what was established. */
static TWS_COLD void disconnect(int fd, struct tws_connecting *connecting)
{
	struct tws_end *end = &connecting->end;

	if (!tws_may_work() || !tws_conn_look(fd, TWS_VIA_NONE, end) || !end->conn.book)
		return;
	if (tws_conn_state(end->conn.slot) == TWS_CONN_CLAIMED)
		return;
	end->verdict = (struct tws_verdict){
	    .ending = tws_conn_state(end->conn.slot) == TWS_CONN_OPEN ? TWS_END_RESET_APP
								      : TWS_END_ABANDONED,
	    .failure = TWS_COUNTERS};
	connecting->disconnected = true;
}

/* After a disconnect the socket may connect again, as a new connection. */
static TWS_COLD void disconnected(int fd, struct tws_connecting *connecting)
{
	struct tws_end *end = &connecting->end;
	uint32_t keep = TWS_CONN_IPV6 | TWS_CONN_MPTCP | TWS_CONN_APP_LINGER_0 |
			TWS_CONN_APP_LINGER_N | TWS_CONN_APP_REUSEADDR |
			TWS_CONN_LOW_WATER | TWS_CONN_APP_NO_PORT;
	uint32_t flags = end->conn.slot->flags & keep;

	tws_conn_end(end);
	tws_fd_set(fd, TWS_FD_SOCKET | flags);
}

/* If the book's file was truncated, a new book is made, once. */
static inline bool claim(int fd, uint32_t flags, struct tws_conn *ret_conn)
{
	struct tws_book *own = tws_book_own();

	if (tws_likely(own && tws_conn_claim(fd, flags, own, ret_conn)))
		return true;
	if (own && own == __atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE))
		return false;
	if (own)
		own = tws_book_own();
	if (!own)
		tws_count_process(TWS_unobserved);
	return own && tws_conn_claim(fd, flags, own, ret_conn);
}

/* Of a descriptor that we have a connection of already, or nothing. */
static __attribute__((noinline)) bool slot_of_known(int fd, uint32_t word,
						    struct tws_conn *ret_conn)
{
	struct tws_book *book = tws_conn_book(word);
	uint64_t cookie = book ? tws_conn_cookie(fd, book) : 0;

	if (book && tws_fd(fd) == word) {
		*ret_conn = tws_conn_in(book, word);
		if (cookie == ret_conn->slot->cookie)
			return true;
		tws_conn_vanished(fd, word);
	}
	word = may_be_opened(fd) ? tws_conn_ask_socket(fd) : 0;
	return word && claim(fd, word & TWS_FD_FLAGS, ret_conn);
}

/* Another thread may have been quicker with the same descriptor, then what it has put
 * there is the connection. Else there is no room, and the descriptor is not followed. */
static __attribute__((noinline)) bool slot_slowly(int fd, uint32_t word,
						  struct tws_conn *ret_conn)
{
	uint32_t now;

	if ((word & (TWS_FD_SOCKET | TWS_FD_SLOT)) != TWS_FD_SOCKET &&
	    slot_of_known(fd, word, ret_conn))
		return true;
	now = tws_fd(fd);
	if (now != word && now & TWS_FD_SLOT)
		return slot_of_known(fd, now, ret_conn);
	if (now)
		tws_fd_replace(fd, now, 0);
	return false;
}

/* The slot of a socket that is about to connect, state CLAIMED; or what it already is.
 * False: none is to be had. */
static inline bool slot_for(int fd, struct tws_conn *ret_conn)
{
	uint32_t word = tws_fd(fd);

	if (tws_likely((word & (TWS_FD_SOCKET | TWS_FD_SLOT)) == TWS_FD_SOCKET) &&
	    tws_likely(claim(fd, word & TWS_FD_FLAGS, ret_conn)))
		return true;
	return slot_slowly(fd, word, ret_conn);
}

#define OPTIONS                                                                          \
	(TWS_CONN_APP_BOUND_0 | TWS_CONN_LATE_BIND | TWS_CONN_APP_LINGER_0 |             \
	 TWS_CONN_APP_LINGER_N | TWS_CONN_APP_REUSEADDR)

/* What was done to the socket before its connect(). */
static TWS_COLD void count_options(const struct tws_conn *conn, uint32_t flags)
{
	if (flags & TWS_CONN_APP_BOUND_0 && !(flags & TWS_CONN_LATE_BIND))
		tws_conn_count(conn, TWS_bound_before_connect, 1);
	if (flags & TWS_CONN_LATE_BIND)
		tws_conn_count(conn, TWS_policy_applied, 1); /* at bind() */
	if (flags & (TWS_CONN_APP_LINGER_0 | TWS_CONN_APP_LINGER_N))
		tws_conn_count(conn, TWS_setsockopt_linger, 1);
	if (flags & TWS_CONN_APP_LINGER_0)
		tws_conn_count(conn, TWS_setsockopt_linger_zero, 1);
	if (flags & TWS_CONN_APP_REUSEADDR)
		tws_conn_count(conn, TWS_setsockopt_reuseaddr, 1);
}

/* It is under way already, by another thread maybe, whose call may be told EISCONN when
 * this one is told 0. */
static TWS_COLD void under_way(struct tws_connecting *connecting)
{
	__atomic_fetch_or(&connecting->conn.slot->flags, TWS_CONN_AGAIN,
			  __ATOMIC_SEQ_CST);
	connecting->again = true;
}

/* CLAIMED -> CONNECTING. */
static inline void attempt(struct tws_connecting *connecting, uint64_t now)
{
	const struct tws_conn *conn = &connecting->conn;
	struct tws_connection *slot = conn->slot;

	slot->began_ns = now;
	__atomic_store_n(&conn->book->header->heartbeat_ns, now, __ATOMIC_RELAXED);
	if (tws_unlikely(!tws_conn_move(conn, TWS_CONN_CLAIMED, TWS_CONN_CONNECTING))) {
		under_way(connecting);
		return;
	}
	tws_tally_add(connecting->tally, TWS_attempts, 1);
	if (tws_unlikely(slot->flags & OPTIONS))
		count_options(conn, slot->flags);
}

static inline void begin(int fd, const struct tws_address *remote,
			 struct tws_connecting *connecting)
{
	const struct tws_conn *conn = &connecting->conn;
	struct tws_connection *slot = conn->slot;
	uint64_t now = tws_now();

	slot->remote = *remote;
	slot->destination = tws_book_destination(conn->book, remote);
	tws_seen(conn->book, now);
	tws_book_recall(conn->book, now);
	if (tws_unlikely(__atomic_load_n(&tws_plans, __ATOMIC_RELAXED)))
		tws_plan_clear(conn);
	if (tws_unlikely(tws_policy_active(now))) {
		tws_apply_connect(fd, conn);
		now = tws_now(); /* it may have waited for a port */
	}
	connecting->deferred = slot->flags & TWS_CONN_FASTOPEN_CONNECT;
	connecting->began_ns = now;
	connecting->tally = tws_conn_tally(conn);
	attempt(connecting, now);
}

/* It is under way, or was over before. */
static __attribute__((noinline)) void connect_again(struct tws_connecting *connecting)
{
	if (tws_conn_state(connecting->conn.slot) != TWS_CONN_CONNECTING) {
		connecting->conn.book = NULL;
		return;
	}
	under_way(connecting);
	connecting->tally = tws_conn_tally(&connecting->conn);
	connecting->began_ns = tws_now();
}

/* Code that runs before the C library's own start (.preinit_array of the program): there
 * is no environment yet that says where to count. */
static TWS_COLD void note_too_early(int fd)
{
	if (!__atomic_load_n(&tws_process.stage, __ATOMIC_ACQUIRE) &&
	    tws_conn_ask_socket(fd))
		tws_count_process(TWS_unobserved);
}

TWS_HOT void tws_hook_connect(int fd, const struct sockaddr *address, socklen_t length,
			      struct tws_connecting *ret_connecting)
{
	struct tws_address remote;

	ret_connecting->conn.book = NULL;
	ret_connecting->again = ret_connecting->deferred = false;
	ret_connecting->disconnected = false;
	if (tws_unlikely(!tws_conn_plausible(address) || length < sizeof(sa_family_t)))
		return;
	if (tws_unlikely(address->sa_family == AF_UNSPEC)) {
		if (tws_fd(fd))
			disconnect(fd, ret_connecting);
		return;
	}
	if (!tws_conn_address(address, length, &remote))
		return;
	if (tws_unlikely(!tws_may_work())) {
		note_too_early(fd);
		return;
	}
	if (tws_unlikely(!slot_for(fd, &ret_connecting->conn))) {
		ret_connecting->conn.book = NULL;
		return;
	}
	if (tws_likely(tws_conn_state(ret_connecting->conn.slot) == TWS_CONN_CLAIMED))
		begin(fd, &remote, ret_connecting);
	else
		connect_again(ret_connecting);
}

/* A first connect() on what is connected already, or listens: it was accepted, or
 * connected where we could not see it, and is no connection of this process's opening. */
static void never_ours(int fd, const struct tws_conn *conn)
{
	tws_conn_unattempt(conn);
	if (__atomic_load_n(&conn->slot->descriptors, __ATOMIC_ACQUIRE) != 1)
		return;
	tws_fd_set(fd, 0);
	tws_conn_free(conn);
}

/* The address is what the tools find an MPTCP connection by: its cookie is not that of
 * the subflow, whose TIME_WAIT stays. */
static TWS_COLD void note_local(int fd, const struct tws_conn *conn)
{
	tws_conn_name(fd, SYS_getsockname, &conn->slot->local);
}

/* It has not succeeded, or not yet. */
static __attribute__((noinline)) void
not_connected(int fd, struct tws_connecting *connecting, int error, uint64_t now)
{
	const struct tws_conn *conn = &connecting->conn;

	switch (error) {
	case EISCONN:
		if (connecting->again ||
		    __atomic_load_n(&conn->slot->flags, __ATOMIC_SEQ_CST) &
			TWS_CONN_AGAIN)
			tws_conn_establish(conn, connecting->tally, now);
		else
			never_ours(fd, conn);
		break;
	case EINPROGRESS:
		__atomic_fetch_or(&conn->slot->flags, TWS_CONN_NONBLOCKING,
				  __ATOMIC_RELAXED);
		break;
	case EALREADY:
	case EINTR:
	case EAGAIN:
		break;
	default:
		tws_conn_fail(conn, error);
	}
}

TWS_HOT void tws_hook_connected(int fd, struct tws_connecting *connecting, int error,
				bool sent)
{
	const struct tws_conn *conn = &connecting->conn;
	uint64_t now;

	if (tws_unlikely(connecting->disconnected) && !error)
		disconnected(fd, connecting);
	if (!conn->book)
		return;
	/* A call that took its time: the file may have been cut meanwhile. */
	now = tws_now();
	if (tws_unlikely(now - connecting->began_ns > TWS_FRESH_NS))
		tws_book_check();
	if (tws_unlikely(conn->slot->flags & TWS_CONN_MPTCP) &&
	    (!error || error == EINPROGRESS))
		note_local(fd, conn);
	if (tws_unlikely(error)) {
		not_connected(fd, connecting, error, now);
		return;
	}
	if (tws_unlikely(sent || connecting->deferred))
		return; /* the SYN is on its way, or not even that */
	if (tws_conn_establish(conn, connecting->tally, now) && !connecting->again)
		tws_tally_time(connecting->tally, TWS_HISTOGRAM_connect_latency_seconds,
			       now - connecting->began_ns);
}
