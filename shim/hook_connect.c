/* SPDX-License-Identifier: MIT
 *
 * connect() and what does the same by other names, before the real call. Where no policy
 * is in force, the address is not read here: it may be unreadable, and must give EFAULT
 * then. The attempt is counted under `other`; hook_connected.c moves it to its
 * destination.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "shim/conn/peek.h"
#include "shim/connect.h"
#include "shim/policy/policy.h"
#include "shim/process.h"
#include "shim/shared/clock.h"

/* TCP_CLOSE also where it is not known. */
int tws_connect_state(int fd)
{
	uint8_t state = 0; /* tcpi_state, the first byte */
	uint32_t length = sizeof(state);

	return tws_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length) == 0
		   ? state
		   : TCP_CLOSE;
}

/* One that was accepted, or connected where we could not see it, is not ours to open, nor
 * to have a policy; nor is one that listens. */
static bool may_be_opened(int fd)
{
	int state = tws_connect_state(fd);

	return state == TCP_CLOSE || state == TCP_SYN_SENT;
}

/* AF_UNSPEC dissolves the association; the kernel resets what was established. */
void tws_connect_dissolve(int fd, struct tws_connecting *connecting)
{
	struct tws_end *end = &connecting->end;

	if (!tws_fd(fd) || !tws_may_work() || !tws_conn_look(fd, TWS_VIA_NONE, end) ||
	    !end->conn.book)
		return;
	if (tws_conn_state(end->conn.slot) == TWS_CONN_CLAIMED)
		return;
	end->verdict = (struct tws_verdict){
	    .ending = tws_conn_state(end->conn.slot) == TWS_CONN_OPEN ? TWS_END_RESET_APP
								      : TWS_END_ABANDONED,
	    .failure = TWS_COUNTERS};
	connecting->disconnected = true;
}

/* Of an attempt that failed: the next one may go elsewhere. */
static void forget_destination(struct tws_connection *slot)
{
	if (tws_conn_state(slot) == TWS_CONN_CLAIMED)
		slot->destination = slot->arm = 0;
}

/* Of a descriptor that we have a connection of already, or nothing. */
static __attribute__((noinline)) bool slot_of_known(int fd, uint32_t word,
						    struct tws_conn *ret_conn)
{
	struct tws_book *book = tws_conn_book(word);
	uint64_t cookie = book ? tws_conn_cookie(fd, book) : 0;

	if (book && tws_fd(fd) == word) {
		*ret_conn = tws_conn_in(book, word);
		if (cookie == ret_conn->slot->cookie) {
			forget_destination(ret_conn->slot);
			return true;
		}
		tws_conn_vanished(fd, word);
	}
	word = may_be_opened(fd) ? tws_conn_ask_socket(fd) : 0;
	/* It was made unseen, perhaps by another process that still holds it. */
	return word &&
	       tws_connect_claim(fd, (word & TWS_FD_FLAGS) | TWS_CONN_SHARED, ret_conn);
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
	    tws_likely(tws_connect_claim(fd, word & TWS_FD_FLAGS, ret_conn)))
		return true;
	return slot_slowly(fd, word, ret_conn);
}

/* What was done to the socket before its connect(). */
void tws_connect_count_options(const struct tws_conn *conn, uint32_t flags)
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
	connecting->unnamed = false;
}

/* CLAIMED -> CONNECTING. */
static inline bool attempt(struct tws_connecting *connecting, uint64_t now)
{
	const struct tws_conn *conn = &connecting->conn;

	conn->slot->began_ns = connecting->began_ns = now;
	__atomic_store_n(&conn->book->header->heartbeat_ns, now, __ATOMIC_RELAXED);
	connecting->deferred = conn->slot->flags & TWS_CONN_FASTOPEN_CONNECT;
	if (tws_likely(tws_conn_move(conn, TWS_CONN_CLAIMED, TWS_CONN_CONNECTING)))
		return true;
	connecting->tally = tws_conn_tally(conn);
	under_way(connecting);
	return false;
}

/* An attempt whose destination is not known yet is counted under `other`, so that it is
 * counted whatever happens during the call. */
static inline void begin_unnamed(struct tws_connecting *connecting, uint64_t now)
{
	connecting->unnamed = true;
	connecting->conn.slot->flags |= TWS_CONN_UNNAMED;
	if (tws_likely(attempt(connecting, now)))
		tws_add(
		    &connecting->conn.book->destinations[0].counters.value[TWS_attempts],
		    1);
}

void tws_connect_begin(struct tws_connecting *connecting)
{
	if (attempt(connecting, tws_now()))
		tws_connect_count(connecting, tws_conn_tally(&connecting->conn));
}

/* It is under way, or was over before. */
static __attribute__((noinline)) void connect_again(struct tws_connecting *connecting)
{
	connecting->repeated = true;
	if (tws_conn_state(connecting->conn.slot) != TWS_CONN_CONNECTING) {
		connecting->conn.book = NULL;
		return;
	}
	under_way(connecting);
	connecting->tally = tws_conn_tally(&connecting->conn);
	connecting->began_ns = tws_now();
}

/* A policy has to know the address before the call. */
static TWS_COLD void connect_by_policy(int fd, const struct sockaddr *address,
				       socklen_t length,
				       struct tws_connecting *connecting)
{
	struct tws_conn *conn = &connecting->conn;
	struct tws_address remote;

	if (!tws_connect_may_have(length) || !tws_peek_may(address, length))
		return;
	if (address->sa_family == AF_UNSPEC) {
		tws_connect_dissolve(fd, connecting);
		return;
	}
	if (!tws_conn_address(address, length, &remote))
		return;
	if (!slot_for(fd, conn)) {
		conn->book = NULL;
	} else if (tws_conn_state(conn->slot) != TWS_CONN_CLAIMED) {
		connect_again(connecting);
	} else {
		tws_connect_set_destination(conn, &remote);
		tws_connect_note_use(conn->book, tws_now());
		if (__atomic_load_n(&tws_plans, __ATOMIC_RELAXED))
			tws_plan_clear(conn);
		tws_apply_connect(fd, conn);
		tws_connect_begin(connecting); /* it may have waited for a port */
	}
}

/* A descriptor that we did not see made, nearly always of another kind: it is asked about
 * afterwards, when its address can be read at no cost. */
static TWS_COLD void connect_strange(int fd, const struct sockaddr *address,
				     socklen_t length, struct tws_connecting *connecting)
{
	if (__atomic_load_n(&tws_policy_control, __ATOMIC_RELAXED) && tws_may_work() &&
	    tws_policy_active(tws_now()) && tws_conn_ask_socket(fd))
		connect_by_policy(fd, address, length, connecting);
	else
		connecting->strange = true;
}

TWS_HOT void tws_hook_connect(int fd, const struct sockaddr *address, socklen_t length,
			      struct tws_connecting *ret_connecting)
{
	struct tws_conn *conn = &ret_connecting->conn;
	uint64_t now;

	conn->book = NULL;
	ret_connecting->again = ret_connecting->deferred = false;
	ret_connecting->strange = ret_connecting->repeated = false;
	ret_connecting->unnamed = ret_connecting->disconnected = false;
	if (tws_unlikely(!tws_fd(fd))) {
		connect_strange(fd, address, length, ret_connecting);
		return;
	}
	if (tws_unlikely(!tws_may_work()))
		return;
	now = tws_now();
	if (tws_unlikely(tws_policy_active(now))) {
		connect_by_policy(fd, address, length, ret_connecting);
		return;
	}
	if (tws_unlikely(!slot_for(fd, conn))) {
		conn->book = NULL;
		return;
	}
	if (tws_unlikely(tws_conn_state(conn->slot) != TWS_CONN_CLAIMED)) {
		connect_again(ret_connecting);
		return;
	}
	tws_connect_note_use(conn->book, now);
	begin_unnamed(ret_connecting, now);
}
