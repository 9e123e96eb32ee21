/* SPDX-License-Identifier: MIT
 *
 * The way out: look, detach, count; and, for a connection that another process may hold,
 * settle with the kernel once our descriptor is gone.
 *
 * Order. The descriptor leaves the table before the real close, since the number may come
 * up again the moment it returns. A connection that is ours alone is counted before the
 * real close too, so that whoever sees the peer's end of it finds it counted. A shared
 * one is counted after, by whoever finds the kernel has let it go; the slot's state lets
 * only one.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>

#include "shim/clock.h"
#include "shim/conn.h"
#include "shim/conn_move.h"
#include "shim/diag.h"
#include "shim/facts.h"
#include "shim/hot.h"
#include "shim/policy_image.h"
#include "shim/process.h"
#include "shim/records.h"
#include "shim/sys.h"

/* ------------------------------------------------------------------ counting */

static void count_lifetime(const struct tws_conn *conn, struct tws_tally tally,
			   uint64_t now)
{
	struct tws_connection *slot = conn->slot;
	uint64_t lifetime = now - slot->established_ns;

	tws_tally_time(tally, TWS_HISTOGRAM_lifetime_seconds, lifetime);
	if (lifetime / 1000000 >= conn->book->header->short_lived_ms)
		return;
	slot->flags |= TWS_CONN_SHORT_LIVED;
	tws_tally_add(tally, TWS_short_lived, 1);
}

static void count_bytes(const struct tws_end *end, struct tws_tally tally)
{
	if (end->bytes_sent)
		tws_tally_add(tally, TWS_bytes_sent, end->bytes_sent);
	if (end->bytes_received)
		tws_tally_add(tally, TWS_bytes_received, end->bytes_received);
}

/* An ending of a connection that came to be. */
static void count_end(const struct tws_end *end, uint64_t now)
{
	const struct tws_conn *conn = &end->conn;
	enum tws_counter via = tws_via_counter((enum tws_via)conn->slot->via);
	struct tws_tally tally = tws_conn_tally(conn);

	if (end->verdict.doubtful)
		conn->slot->flags |= TWS_CONN_DOUBTFUL;
	if (end->verdict.time_wait)
		tws_record_time_wait(conn);
	tws_tally_add(tally, tws_ending_counter(end->verdict.ending), 1);
	if (via != TWS_COUNTERS)
		tws_tally_add(tally, via, 1);
	count_lifetime(conn, tally, now);
	count_bytes(end, tally);
	tws_conn_count_gone(conn, tally);
	if (conn->slot->rule)
		tws_rule_ended(conn, end->verdict.ending);
}

/* Begun, and nothing known of them; as the identities have it. What is subtracted is read
 * first: others may be counting. */
static uint64_t connecting(const struct tws_counters *counters)
{
	uint64_t known =
	    __atomic_load_n(&counters->value[TWS_established], __ATOMIC_ACQUIRE);
	uint64_t begun;

	for (unsigned i = TWS_failed_refused; i <= TWS_abandoned; i++)
		known += __atomic_load_n(&counters->value[i], __ATOMIC_ACQUIRE);
	begun = __atomic_load_n(&counters->value[TWS_attempts], __ATOMIC_ACQUIRE);
	return begun > known && begun - known < TWS_MAX_CONNECTIONS ? begun - known : 0;
}

/* A program that never asks what became of a non-blocking connect() has each established
 * only at its end. The others to the same destination were open beside it. An arm's peak
 * is not raised so. */
static void count_late_peak(const struct tws_conn *conn)
{
	struct tws_counters *here = tws_conn_destination(conn);
	struct tws_counters *process = conn->book->process;
	uint64_t beside = connecting(here);

	tws_raise(&here->value[TWS_peak_open],
		  beside + __atomic_load_n(&here->value[TWS_open], __ATOMIC_RELAXED));
	tws_raise(&process->value[TWS_peak_open],
		  beside + __atomic_load_n(&process->value[TWS_open], __ATOMIC_RELAXED));
}

static bool came_to_be(const struct tws_verdict *verdict)
{
	return verdict->ending != TWS_END_ABANDONED && verdict->ending != TWS_END_FAILED;
}

/* The attempt came to nothing. `counted`: it had been believed established. */
static void count_unborn(const struct tws_end *end, bool counted)
{
	const struct tws_conn *conn = &end->conn;
	bool failed = end->verdict.ending == TWS_END_FAILED;

	if (counted) {
		tws_conn_count(conn, TWS_established, (uint64_t)-1);
		tws_conn_count_gone(conn, tws_conn_tally(conn));
	}
	tws_conn_count(conn, failed ? end->verdict.failure : TWS_abandoned, 1);
	if (failed)
		tws_rule_failed(conn);
}

/* Moves the slot to its end and counts it; whoever moves it counts. */
TWS_HOT static void finish(const struct tws_end *end)
{
	const struct tws_conn *conn = &end->conn;
	struct tws_connection *slot = conn->slot;
	bool was_open = tws_conn_move(conn, TWS_CONN_OPEN, TWS_CONN_ENDING);
	uint64_t now = tws_now();

	if (!was_open && !tws_conn_move(conn, TWS_CONN_CONNECTING, TWS_CONN_ENDING))
		return;
	slot->ending = (uint8_t)end->verdict.ending;
	slot->via = (uint8_t)end->via;
	slot->failure = (uint8_t)end->verdict.failure;
	__atomic_store_n(&conn->book->header->heartbeat_ns, now, __ATOMIC_RELAXED);
	if (came_to_be(&end->verdict)) {
		if (!was_open) {
			slot->established_ns = slot->began_ns;
			tws_conn_count_established(conn);
			count_late_peak(conn);
		}
		count_end(end, now);
	} else {
		count_unborn(end, was_open);
	}
	tws_record_ended(end, now);
}

TWS_HOT void tws_conn_end(const struct tws_end *end)
{
	finish(end);
	tws_conn_free(&end->conn);
}

/* -------------------------------------------------------------------- unseen */

void tws_conn_vanished(int fd, uint32_t word)
{
	struct tws_end end = {.fd = fd, .word = word, .conn = tws_conn_of(word)};

	if ((unsigned)fd >= TWS_FDS ||
	    !__atomic_compare_exchange_n(tws_fd_place(fd), &word, 0, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return;
	if (!end.conn.book || !tws_conn_owned(&end.conn))
		return;
	if (__atomic_sub_fetch(&end.conn.slot->descriptors, 1, __ATOMIC_ACQ_REL))
		return;
	end.verdict =
	    (struct tws_verdict){.ending = TWS_END_UNSEEN, .failure = TWS_COUNTERS};
	if (tws_conn_state(end.conn.slot) == TWS_CONN_CONNECTING)
		end.verdict.ending = TWS_END_ABANDONED;
	tws_conn_end(&end);
}

/* ------------------------------------------------------------------- looking */

/* Another of our descriptors leads to the inherited connection. (Ours have a count.) */
static bool has_other_descriptor(int fd, uint32_t word)
{
	for (int i = 0; i <= tws_fd_highest(); i++)
		if (i != fd && tws_fd(i) == word)
			return true;
	return false;
}

static bool closes_on_exec(int fd)
{
	return tws_sys2(SYS_fcntl, fd, F_GETFD) & FD_CLOEXEC;
}

/* Whether another process may hold the connection. A child that was spawned since (and
 * has called exec) holds it only if it is not close-on-exec. */
static bool may_be_shared(const struct tws_end *end)
{
	const struct tws_connection *slot = end->conn.slot;

	if (slot->flags & TWS_CONN_SHARED || !tws_conn_owned(&end->conn))
		return true;
	return slot->action[TWS_ACTION_SPAWNS] !=
		   __atomic_load_n(&tws_process.spawns, __ATOMIC_RELAXED) &&
	       !closes_on_exec(end->fd);
}

static void read_local(int fd, struct tws_address *ret_local)
{
	struct sockaddr_storage address;
	uint32_t length = sizeof(address);

	if (tws_sys3(SYS_getsockname, fd, &address, &length) != 0 ||
	    !tws_conn_address((void *)&address, length, ret_local))
		memset(ret_local, 0, sizeof(*ret_local));
}

/* We shut down first and our close would reset: the peer's FIN may come between this look
 * and the close, and then TIME_WAIT stands before there is anything to reset. */
static bool races_with_fin(const struct tws_end *end)
{
	return end->facts.flags & TWS_CONN_SHUT_WRITE &&
	       (end->verdict.ending == TWS_END_RESET_UNREAD ||
		end->verdict.ending == TWS_END_RESET_APP);
}

TWS_HOT static void judge(struct tws_end *end)
{
	const struct tws_connection *slot = end->conn.slot;
	struct tws_bytes bytes = {0, 0};
	struct tws_facts *facts = &end->facts;

	tws_records_expect(end->conn.book);
	end->shared = may_be_shared(end);
	*facts = (struct tws_facts){.flags = slot->flags};
	facts->established =
	    tws_conn_state(slot) == TWS_CONN_OPEN && !(slot->flags & TWS_CONN_BELIEVED);
	tws_facts_read(end->fd, end->conn.book->header->detail, !end->shared, facts,
		       &bytes);
	end->bytes_sent = bytes.sent;
	end->bytes_received = bytes.received;
	end->verdict = tws_ending_decide(facts);
	end->recheck = !end->shared && races_with_fin(end);
	if (end->shared || end->recheck || slot->flags & TWS_CONN_MPTCP)
		read_local(end->fd, &end->local);
}

/* Field by field: clearing all of it costs as much as the rest of the look. */
static void begin_end(int fd, uint32_t word, enum tws_via via, struct tws_end *ret_end)
{
	ret_end->conn.book = NULL;
	ret_end->fd = fd;
	ret_end->word = word;
	ret_end->via = via;
	ret_end->verdict = (struct tws_verdict){.failure = TWS_COUNTERS};
	ret_end->bytes_sent = ret_end->bytes_received = 0;
	ret_end->ends = ret_end->shared = ret_end->recheck = false;
}

TWS_HOT bool tws_conn_look(int fd, enum tws_via via, struct tws_end *ret_end)
{
	uint32_t word = tws_fd(fd);
	struct tws_book *book = tws_conn_book(word);
	uint64_t cookie;
	bool owned;

	begin_end(fd, word, via, ret_end);
	if (!word || !tws_may_work())
		return false;
	if (!book)
		return true; /* a socket not connected: only its word goes */
	cookie = tws_conn_cookie(fd, book); /* before the first look into the book */
	if (tws_fd(fd) != word)
		return false;
	ret_end->conn = tws_conn_in(book, word);
	owned = tws_conn_owned(&ret_end->conn);
	if (tws_conn_state(ret_end->conn.slot) == TWS_CONN_CLAIMED)
		return true;
	if (owned
		? __atomic_load_n(&ret_end->conn.slot->descriptors, __ATOMIC_ACQUIRE) > 1
		: has_other_descriptor(fd, word))
		return true;
	if (cookie != ret_end->conn.slot->cookie) {
		tws_conn_vanished(fd, word);
		return false;
	}
	ret_end->ends = true;
	judge(ret_end);
	return true;
}

/* ------------------------------------------------------------------ detaching */

/* Two threads closed the last two descriptors at once, and each saw the other's. */
static void look_again(struct tws_end *end)
{
	end->ends = tws_conn_state(end->conn.slot) != TWS_CONN_CLAIMED &&
		    tws_conn_cookie(end->fd, end->conn.book) == end->conn.slot->cookie;
	if (end->ends)
		judge(end);
}

TWS_HOT void tws_conn_detach(struct tws_end *end)
{
	uint32_t word = end->word;
	uint32_t left;

	if (!__atomic_compare_exchange_n(tws_fd_place(end->fd), &word, 0, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		end->ends = false; /* another thread or a signal handler was here first */
		return;
	}
	if (!end->conn.book)
		return;
	if (tws_conn_owned(&end->conn)) {
		left =
		    __atomic_sub_fetch(&end->conn.slot->descriptors, 1, __ATOMIC_ACQ_REL);
		if (!left && !end->ends)
			look_again(end);
		if (!left && !end->ends)
			tws_conn_free(&end->conn);
	}
	if (end->ends && !end->shared && !end->recheck)
		tws_conn_end(end);
}

/* ------------------------------------------------------------------- settling */

/* States in which somebody may still have a descriptor: after our own shutdown FIN_WAIT
 * is one of them. */
static bool lives_on(int tcp_state, uint32_t flags)
{
	switch (tcp_state) {
	case TCP_ESTABLISHED:
	case TCP_SYN_SENT:
	case TCP_CLOSE_WAIT:
		return true;
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
		return flags & TWS_CONN_SHUT_WRITE;
	default:
		return tcp_state < 0;
	}
}

/* What the kernel says now stands against what the socket said when we looked. */
static void correct(struct tws_end *end, int tcp_state)
{
	if (tcp_state == TCP_TIME_WAIT)
		end->verdict.ending = TWS_END_LOCAL_FIN;
	end->verdict.time_wait = end->verdict.ending == TWS_END_LOCAL_FIN;
}

void tws_conn_leave(const struct tws_end *end)
{
	struct tws_connection *slot = end->conn.slot;

	if (!tws_conn_owned(&end->conn) && !(slot->flags & TWS_CONN_LEFT))
		return; /* the owner still has it */
	if (came_to_be(&end->verdict))
		tws_conn_establish(&end->conn, false, tws_now());
	slot->ending = (uint8_t)end->verdict.ending;
	slot->via = (uint8_t)end->via;
	slot->local = end->local;
	__atomic_fetch_or(&slot->flags, TWS_CONN_LEFT | TWS_CONN_SHARED,
			  __ATOMIC_RELEASE);
}

TWS_HOT void tws_conn_settle(struct tws_end *end)
{
	const struct tws_connection *slot = end->conn.slot;
	int state;

	if (!end->ends || !(end->shared || end->recheck))
		return;
	state = tws_diag_state(&end->local, &slot->remote, slot->cookie);
	if (end->shared && lives_on(state, slot->flags)) {
		tws_conn_leave(end);
		return;
	}
	correct(end, state);
	tws_conn_end(end);
}

static void sweep_slot(struct tws_book *book, uint32_t index)
{
	struct tws_connection *slot = &book->connections[index];
	struct tws_end end = {.fd = -1, .via = (enum tws_via)slot->via};
	int state;

	if (tws_conn_state(slot) != TWS_CONN_OPEN || !(slot->flags & TWS_CONN_LEFT))
		return;
	end.conn = (struct tws_conn){book, slot, index, slot->generation};
	end.verdict.ending = tws_ending_held(slot->ending);
	end.verdict.failure = tws_failure_held(slot->failure);
	state = tws_diag_state(&slot->local, &slot->remote, slot->cookie);
	if (lives_on(state, slot->flags))
		return;
	correct(&end, state);
	tws_conn_end(&end);
}

void tws_conn_sweep(struct tws_book *book)
{
	uint32_t used = tws_book_used(book, TWS_SECTION_CONNECTIONS);

	for (uint32_t i = 0; i < used; i++)
		sweep_slot(book, i);
}
