/* SPDX-License-Identifier: MIT
 *
 * connect() after the real call. The kernel has read the address by then, so it is
 * readable: the attempt gets its destination, and its outcome is counted.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "shim/conn/peek.h"
#include "shim/connect.h"
#include "shim/lifecycle.h"
#include "shim/shared/clock.h"
#include "shim/shared/pair.h"

/* Code that runs before the C library has started (.preinit_array of the program) has
 * no environment yet, so the shim cannot know where to publish. */
static TWS_COLD void note_too_early(int fd)
{
	if (!__atomic_load_n(&tws_process.stage, __ATOMIC_ACQUIRE) &&
	    tws_conn_ask_socket(fd))
		tws_count_process(TWS_unobserved);
}

/* The errors that connect() returns only after it has read the address. */
static bool has_read_address(int error)
{
	return !error || error == EINPROGRESS || error == EALREADY || error == EINTR ||
	       tws_failure_counter(error) != TWS_failed_other;
}

/* The call took long enough for other threads to have freed the memory, or it failed,
 * perhaps before it read the address. */
static TWS_COLD bool read_late(int fd, const struct sockaddr *address, socklen_t length,
			       int error, struct tws_address *ret_remote)
{
	if (!error && tws_conn_name(fd, SYS_getpeername, ret_remote))
		return true;
	return tws_connect_may_have(length) && tws_peek_may(address, length) &&
	       tws_conn_address(address, length, ret_remote);
}

/* The destination is known now, and the attempt is counted there. No arm is involved:
 * a policy needs the destination earlier. Two threads that connect the same descriptor
 * may each have found another entry of the same address; the first one is taken. False:
 * another thread has moved the connection meanwhile, and it stays where it was counted.
 */
static inline TWS_ALWAYS_INLINE bool name(bool single, struct tws_connecting *connecting,
					  const struct tws_address *remote)
{
	const struct tws_conn *conn = &connecting->conn;
	struct tws_connection *slot = conn->slot;
	struct tws_destination *all = conn->book->destinations;
	uint16_t none;
	uint16_t at;

	if (tws_unlikely(!tws_conn_is(conn, TWS_CONN_CONNECTING)))
		return false;
	at = tws_book_destination(conn->book, remote);
	none = tws_swap_u16(single, &slot->destination, 0, at);
	if (tws_likely(!none))
		slot->remote = *remote;
	else if (none < tws_book_ready(conn->book, TWS_SECTION_DESTINATIONS))
		at = none;
	connecting->tally = (struct tws_tally){&all[at].counters, NULL};
	if (tws_unlikely(!tws_clear_bit(single, &slot->flags, TWS_CONN_UNNAMED)))
		return true; /* the other thread has moved its attempt */
	tws_history_note(conn->book, &all[at], connecting->began_ns);
	tws_add_as(single, &all[at].counters.value[TWS_attempts], 1);
	if (tws_unlikely(slot->flags & TWS_CONNECT_OPTIONS))
		tws_connect_count_options(conn, slot->flags);
	tws_add_as(single, &all[0].counters.value[TWS_attempts], (uint64_t)-1);
	return true;
}

/* The kernel has just taken this for an address, and we knew nothing of the
 * descriptor. If it had been connected or listening, connect() would have returned
 * EISCONN. */
static TWS_COLD void meet(int fd, const struct sockaddr *address, socklen_t length,
			  struct tws_connecting *connecting, int error)
{
	struct tws_address remote;
	uint32_t word;

	if (!has_read_address(error) || !tws_conn_address(address, length, &remote))
		return;
	if (!tws_may_work()) {
		note_too_early(fd);
		return;
	}
	word = tws_conn_ask_socket(fd);
	if (!word || !tws_connect_claim(fd, word & TWS_FD_FLAGS, 0, &connecting->conn)) {
		connecting->conn.book = NULL;
		return;
	}
	tws_connect_note_use(connecting->conn.book, tws_now());
	tws_conn_take_unnamed(&connecting->conn);
	tws_connect_set_destination(&connecting->conn, &remote);
	tws_connect_begin(connecting);
}

/* This was the first connect() that we saw, and the socket was connected or listening:
 * it was accepted, or connected where we could not see it. This process did not open
 * the connection. */
static void never_ours(int fd, const struct tws_conn *conn)
{
	tws_conn_unattempt(conn);
	if (__atomic_load_n(&conn->slot->descriptors, __ATOMIC_ACQUIRE) != 1)
		return;
	tws_fd_set(fd, 0);
	tws_conn_free(conn);
}

static TWS_COLD bool learn_remote(int fd, const struct sockaddr *address,
				  socklen_t length, bool late, int error,
				  struct tws_address *ret_remote)
{
	if (late || !has_read_address(error))
		return read_late(fd, address, length, error, ret_remote);
	return tws_conn_address(address, length, ret_remote);
}

/* Finds the destination for a call that did not succeed at once, was late, or was
 * begun by another thread. Returns the error to go on with, or -1 if there was no
 * attempt or it belongs to another thread by now. */
static TWS_COLD int name_late(int fd, const struct sockaddr *address, socklen_t length,
			      struct tws_connecting *connecting, int error, uint64_t now)
{
	bool late = now - connecting->began_ns > TWS_FRESH_NS;
	uint32_t flags = __atomic_load_n(&connecting->conn.slot->flags, __ATOMIC_SEQ_CST);
	struct tws_address remote;

	if (error == EISCONN && !connecting->again && !(flags & TWS_CONN_AGAIN))
		return error;
	if (error == EFAULT && tws_connect_state(fd) != TCP_CLOSE)
		error = EINPROGRESS; /* the data of a sendto(), not its address */
	if (error != EFAULT && learn_remote(fd, address, length, late, error, &remote))
		return name(tws_is_single(), connecting, &remote) ? error : -1;
	if (!connecting->again)
		tws_conn_unattempt(&connecting->conn); /* AF_UNSPEC, or refused */
	return -1;
}

/* The tools find an MPTCP connection by its addresses: its cookie differs from that of
 * the subflow, which is the socket that stays in TIME_WAIT. */
static TWS_COLD void note_local(int fd, const struct tws_conn *conn)
{
	tws_conn_name(fd, SYS_getsockname, &conn->slot->local);
}

/* connect() has not succeeded, or not yet. */
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

/* What could not be decided before the call. */
static void look_back(int fd, const struct sockaddr *address, socklen_t length,
		      struct tws_connecting *connecting, int error)
{
	if (connecting->strange)
		meet(fd, address, length, connecting, error);
	if (connecting->repeated && !error && tws_connect_may_have(length) &&
	    address->sa_family == AF_UNSPEC) {
		connecting->conn.book = NULL;
		tws_connect_dissolve(fd, connecting);
	}
	if (connecting->disconnected && !error)
		tws_connect_dissolved(&connecting->end);
}

/* Another thread is in connect() with this socket. If it has named it meanwhile, the
 * connection is counted where that thread decided. */
static bool is_unnamed(struct tws_connecting *connecting)
{
	if (__atomic_load_n(&connecting->conn.slot->flags, __ATOMIC_ACQUIRE) &
	    TWS_CONN_UNNAMED)
		return true;
	connecting->tally = tws_conn_tally(&connecting->conn);
	return false;
}

/* Everything but the usual case, which is a connection that was established at once. */
static __attribute__((noinline)) void
connected_slowly(int fd, const struct sockaddr *address, socklen_t length,
		 struct tws_connecting *connecting, int error, bool sent)
{
	const struct tws_conn *conn = &connecting->conn;
	uint64_t now;

	if (!connecting->unnamed)
		look_back(fd, address, length, connecting, error);
	if (!conn->book)
		return;
	/* The call took long enough for the file to have been truncated meanwhile. */
	now = tws_now();
	if (now - connecting->began_ns > TWS_FRESH_NS)
		tws_book_check();
	if (connecting->unnamed || (connecting->again && is_unnamed(connecting)))
		error = name_late(fd, address, length, connecting, error, now);
	if (error < 0)
		return;
	if (tws_is_found_by_pair(conn->slot->flags, conn->slot->cookie) &&
	    (!error || error == EINPROGRESS))
		note_local(fd, conn);
	if (error) {
		not_connected(fd, connecting, error, now);
		return;
	}
	if (sent || connecting->deferred)
		return; /* the SYN was sent, or will be later */
	if (tws_conn_establish(conn, connecting->tally, now) && !connecting->again)
		tws_tally_time(connecting->tally, TWS_HISTOGRAM_connect_latency_seconds,
			       now - connecting->began_ns);
}

static inline TWS_ALWAYS_INLINE void count_connected(bool single,
						     struct tws_connecting *connecting,
						     const struct tws_address *remote,
						     uint64_t now)
{
	if (tws_likely(
		name(single, connecting, remote) &&
		tws_conn_establish_as(single, &connecting->conn, connecting->tally, now)))
		tws_histogram_add(single, connecting->tally.destination,
				  TWS_HISTOGRAM_connect_latency_seconds,
				  now - connecting->began_ns);
}

TWS_HOT void tws_hook_connected(int fd, const struct sockaddr *address, socklen_t length,
				struct tws_connecting *connecting, int error, bool sent)
{
	struct tws_address remote;
	uint64_t now;

	if (tws_unlikely(!connecting->unnamed || error || sent || connecting->deferred)) {
		connected_slowly(fd, address, length, connecting, error, sent);
		return;
	}
	now = tws_now();
	/* First the time: after a long one, the slot's file may have been cut. */
	if (tws_unlikely(now - connecting->began_ns > TWS_FRESH_NS ||
			 tws_is_found_by_pair(connecting->conn.slot->flags,
					      connecting->conn.slot->cookie) ||
			 !tws_conn_address(address, length, &remote))) {
		connected_slowly(fd, address, length, connecting, error, sent);
		return;
	}
	if (tws_is_single())
		count_connected(true, connecting, &remote, now);
	else
		count_connected(false, connecting, &remote, now);
}
