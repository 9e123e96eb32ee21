/* SPDX-License-Identifier: MIT
 *
 * connect(), and the calls that connect under another name, before the real call. Where
 * no policy is in force, the address is not read here: it may be unreadable, and then
 * the kernel must answer EFAULT. The attempt is counted under `other`, and
 * hook_connected.c moves it to its destination.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "shim/conn/peek.h"
#include "shim/connect.h"
#include "shim/policy/policy.h"
#include "shim/lifecycle.h"
#include "shim/shared/clock.h"

/* TCP_CLOSE if the state is not known. */
int tws_connect_state(int fd)
{
	uint8_t state = 0; /* tcpi_state, the first byte */
	uint32_t length = sizeof(state);

	return tws_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length) == 0
		   ? state
		   : TCP_CLOSE;
}

/* A socket that was accepted, or that connected where we could not see it, was not
 * opened by this process and gets no policy. The same holds for one that listens. */
static bool may_be_opened(int fd)
{
	int state = tws_connect_state(fd);

	return state == TCP_CLOSE || state == TCP_SYN_SENT;
}

/* AF_UNSPEC dissolves the association, and the kernel resets an established
 * connection. */
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

void tws_connect_dissolved(const struct tws_end *end)
{
	tws_apply_undo_close(end->fd, &end->conn);
	tws_plan_clear(&end->conn);
	tws_conn_dissolve(end, TWS_CONN_IPV6 | TWS_CONN_MPTCP | TWS_CONN_APP_LINGER_0 |
				   TWS_CONN_APP_LINGER_N | TWS_CONN_APP_REUSEADDR |
				   TWS_CONN_LOW_WATER | TWS_CONN_APP_NO_PORT |
				   TWS_CONN_SHARED | TWS_CONN_STREAM);
}

/* The attempt failed, and the next one may go elsewhere. Where two threads try again at
 * once, one of them forgets. */
static void forget_destination(struct tws_connection *slot)
{
	if (tws_conn_state(slot) == TWS_CONN_CLAIMED &&
	    __atomic_exchange_n(&slot->failure, 0, __ATOMIC_ACQ_REL))
		tws_conn_unname(slot);
}

/* The slot of a descriptor that we may have a connection for already. */
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
	return word && tws_connect_claim(fd, (word & TWS_FD_FLAGS) | TWS_CONN_SHARED, 0,
					 ret_conn);
}

static inline bool is_unconnected(uint32_t word)
{
	return (word & (TWS_FD_SOCKET | TWS_FD_SLOT)) == TWS_FD_SOCKET;
}

/* Another thread may have been quicker with the same descriptor; then what it put
 * there is the connection. Or a fork has marked it as shared since `word` was read. Where
 * there is no room, the descriptor is not followed. */
static __attribute__((noinline)) bool slot_slowly(int fd, uint32_t word,
						  struct tws_conn *ret_conn)
{
	uint32_t now;

	if (!is_unconnected(word) && slot_of_known(fd, word, ret_conn))
		return true;
	now = tws_fd(fd);
	if (now != word && now & TWS_FD_SLOT)
		return slot_of_known(fd, now, ret_conn);
	if (now != word && is_unconnected(now) &&
	    tws_connect_claim(fd, now & TWS_FD_FLAGS, 0, ret_conn))
		return true;
	if (now)
		tws_fd_replace(fd, now, 0);
	return false;
}

/* The slot of a socket that is about to connect, in state CLAIMED and UNNAMED, or the
 * slot that the socket has already. False: there is none. */
static TWS_COLD bool slot_for(int fd, struct tws_conn *ret_conn)
{
	uint32_t word = tws_fd(fd);

	return (is_unconnected(word) &&
		tws_connect_claim(fd, word & TWS_FD_FLAGS, 0, ret_conn)) ||
	       slot_slowly(fd, word, ret_conn);
}

/* Counts what the program did to the socket before connect(). */
void tws_connect_count_options(const struct tws_conn *conn, uint32_t flags)
{
	if (flags & TWS_CONN_APP_BOUND_0 && !(flags & TWS_CONN_LATE_BIND))
		tws_conn_count(conn, TWS_bound_before_connect, 1);
	if (flags & TWS_CONN_LATE_BIND)
		tws_conn_count_applied(conn); /* at bind() */
	if (flags & (TWS_CONN_APP_LINGER_0 | TWS_CONN_APP_LINGER_N))
		tws_conn_count(conn, TWS_setsockopt_linger, 1);
	if (flags & TWS_CONN_APP_LINGER_0)
		tws_conn_count(conn, TWS_setsockopt_linger_zero, 1);
	if (flags & TWS_CONN_APP_REUSEADDR)
		tws_conn_count(conn, TWS_setsockopt_reuseaddr, 1);
}

/* The connect is under way already, perhaps by another thread. That thread may be told
 * EISCONN while this one is told 0. */
static TWS_COLD void under_way(struct tws_connecting *connecting)
{
	__atomic_fetch_or(&connecting->conn.slot->flags, TWS_CONN_AGAIN,
			  __ATOMIC_SEQ_CST);
	connecting->again = true;
	connecting->unnamed = false;
}

/* CLAIMED -> CONNECTING. */
static bool attempt(struct tws_connecting *connecting, uint64_t now)
{
	const struct tws_conn *conn = &connecting->conn;

	conn->slot->began_ns = connecting->began_ns = now;
	__atomic_store_n(&conn->book->header->heartbeat_ns, now, __ATOMIC_RELAXED);
	connecting->deferred = conn->slot->flags & TWS_CONN_FASTOPEN_CONNECT;
	if (tws_conn_move(conn, TWS_CONN_CLAIMED, TWS_CONN_CONNECTING))
		return true;
	connecting->tally = tws_conn_tally(conn);
	under_way(connecting);
	return false;
}

/* The attempt is counted before the call, whatever happens during it. While its
 * destination is not known, it is counted under `other`. */
static inline void count_unnamed(struct tws_connecting *connecting)
{
	connecting->unnamed = true;
	tws_add(&connecting->conn.book->destinations[0].counters.value[TWS_attempts], 1);
}

void tws_connect_begin(struct tws_connecting *connecting)
{
	uint64_t now = tws_now();

	if (!attempt(connecting, now))
		return;
	tws_conn_note(&connecting->conn, now);
	tws_connect_count(connecting, tws_conn_tally(&connecting->conn));
}

/* The connect is under way, or it was over before. */
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

/* A rule has to know the address before the call. */
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
		tws_conn_take_unnamed(conn);
		tws_connect_set_destination(conn, &remote);
		tws_connect_note_use(conn->book, tws_now());
		if (__atomic_load_n(&tws_plans, __ATOMIC_RELAXED))
			tws_plan_clear(conn);
		tws_apply_connect(fd, conn);
		tws_connect_begin(connecting); /* it may have waited for a port */
	}
}

/* We did not see how this descriptor was made, and nearly always it is of another
 * kind. It is examined after the call, when reading its address costs nothing. */
static TWS_COLD void connect_strange(int fd, const struct sockaddr *address,
				     socklen_t length, struct tws_connecting *connecting)
{
	if (tws_layers_any() && tws_may_work() && tws_policy_active(tws_now()) &&
	    tws_policy_concerns(NULL) && tws_conn_ask_socket(fd))
		connect_by_policy(fd, address, length, connecting);
	else
		connecting->strange = true;
}

/* The socket has a slot, or had no room for one. */
static TWS_COLD void connect_slowly(int fd, uint32_t word,
				    struct tws_connecting *connecting, uint64_t now)
{
	if (!slot_slowly(fd, word, &connecting->conn)) {
		connecting->conn.book = NULL;
	} else if (tws_conn_state(connecting->conn.slot) != TWS_CONN_CLAIMED) {
		connect_again(connecting);
	} else {
		tws_connect_note_use(connecting->conn.book, now);
		if (attempt(connecting, now))
			count_unnamed(connecting);
	}
}

TWS_HOT void tws_hook_connect(int fd, const struct sockaddr *address, socklen_t length,
			      struct tws_connecting *ret_connecting)
{
	struct tws_conn *conn = &ret_connecting->conn;
	const uint32_t word = tws_fd(fd);
	uint64_t now;

	conn->book = NULL;
	ret_connecting->again = ret_connecting->deferred = false;
	ret_connecting->strange = ret_connecting->repeated = false;
	ret_connecting->unnamed = ret_connecting->disconnected = false;
	if (tws_unlikely(!word)) {
		connect_strange(fd, address, length, ret_connecting);
		return;
	}
	if (tws_unlikely(!tws_may_work()))
		return;
	/* The policy is mapped together with the book, and holds from here on. */
	if (tws_unlikely(!__atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE)))
		tws_book_own();
	now = tws_now();
	if (tws_unlikely(tws_policy_active(now)) &&
	    tws_policy_concerns(__atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE))) {
		connect_by_policy(fd, address, length, ret_connecting);
		return;
	}
	if (tws_unlikely(!(is_unconnected(word) &&
			   tws_connect_claim(fd, word & TWS_FD_FLAGS, now, conn)))) {
		connect_slowly(fd, word, ret_connecting, now);
		return;
	}
	ret_connecting->began_ns = now;
	__atomic_store_n(&conn->book->header->heartbeat_ns, now, __ATOMIC_RELAXED);
	ret_connecting->deferred = conn->slot->flags & TWS_CONN_FASTOPEN_CONNECT;
	tws_connect_note_use(conn->book, now);
	count_unnamed(ret_connecting);
}
