/* SPDX-License-Identifier: MIT
 *
 * The way out: look, detach, count. A connection that another process may hold is
 * settled later, in conn_settle.c.
 *
 * Order matters. The descriptor leaves the table before the real close, because its
 * number may be used again the moment close returns. A connection that is ours alone is
 * also counted before the real close, so that whoever sees the peer's end of it finds it
 * counted. A shared connection is counted afterwards, by whichever process finds that
 * the kernel has let it go; the slot's state allows this only once.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>

#include "shim/shared/clock.h"
#include "shim/conn/conn.h"
#include "shim/conn/conn_move.h"
#include "shim/conn/facts.h"
#include "shim/shared/hot.h"
#include "shim/shared/policy_image.h"
#include "shim/book/port_ring.h"
#include "shim/book/self.h"
#include "shim/conn/records.h"
#include "shim/shared/sys.h"

/* ------------------------------------------------------------------ counting */

/* Only now is it known whether the way to close had its effect. */
static __attribute__((noinline)) void count_way_to_close(const struct tws_conn *conn,
							 enum tws_ending ending)
{
	const uint32_t flags = conn->slot->flags;
	enum tws_counter outcome = flags & TWS_CONN_POLICY_RESET
				       ? tws_ending_reset_outcome(ending, flags)
				       : tws_ending_fin_reset_outcome(ending, flags);

	if (outcome == TWS_policy_applied)
		tws_conn_count_applied(conn);
	else if (outcome != TWS_COUNTERS)
		tws_conn_count(conn, outcome, 1);
}

/* Counts the ending of a connection that was established. */
static void count_end(const struct tws_end *end, uint64_t now)
{
	const struct tws_conn *conn = &end->conn;
	struct tws_destination *entry = tws_conn_entry(conn);
	struct tws_counters *arm = tws_conn_arm(conn);
	const bool single = tws_is_single();
	struct tws_ended_counts ended = {.ending =
					     tws_ending_counter(end->verdict.ending),
					 .via = tws_via_counter(end->via),
					 .lifetime_ns = now - conn->slot->established_ns,
					 .bytes = end->bytes};

	ended.short_lived = tws_conn_is_short_lived(conn, now);
	if (ended.short_lived)
		conn->slot->flags |= TWS_CONN_SHORT_LIVED;
	if (end->verdict.doubtful)
		conn->slot->flags |= TWS_CONN_DOUBTFUL;
	if (end->verdict.time_wait)
		tws_record_time_wait(single, conn);
	tws_history_note(conn->book, entry, now);
	tws_count_ended(single, &entry->counters, &ended);
	if (arm)
		tws_count_ended(single, arm, &ended);
	tws_add(&conn->book->process->value[TWS_open], (uint64_t)-1);
	if (tws_unlikely(conn->slot->rule))
		tws_conn_rule_ended(conn, end->verdict.ending);
	if (tws_unlikely(conn->slot->flags &
			 (TWS_CONN_POLICY_LINGER2 | TWS_CONN_POLICY_RESET)))
		count_way_to_close(conn, end->verdict.ending);
}

/* Attempts whose outcome is not known yet, by the identities. What is subtracted is
 * read first, because others may be counting. */
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

/* In a program that never asks for the outcome of a non-blocking connect(), each
 * connection becomes established only when it ends. The others to the same destination
 * were open at the same time. An arm's peak is not raised in this way. */
static TWS_COLD void count_late_peak(const struct tws_conn *conn)
{
	struct tws_counters *here = tws_conn_destination(conn);
	struct tws_counters *process = conn->book->process;
	uint64_t beside = connecting(here);

	tws_raise(&here->value[TWS_peak_open],
		  beside + __atomic_load_n(&here->value[TWS_open], __ATOMIC_RELAXED));
	tws_raise(&process->value[TWS_peak_open],
		  beside + __atomic_load_n(&process->value[TWS_open], __ATOMIC_RELAXED));
}

/* The attempt did not lead to a connection. `counted`: it was believed to be
 * established. */
static __attribute__((noinline)) void count_unborn(const struct tws_end *end,
						   bool counted)
{
	const struct tws_conn *conn = &end->conn;
	bool failed = end->verdict.ending == TWS_END_FAILED;

	if (counted) {
		tws_conn_count(conn, TWS_established, (uint64_t)-1);
		tws_conn_count_gone(conn, tws_conn_tally(conn));
	}
	tws_conn_count(conn, failed ? end->verdict.failure : TWS_abandoned, 1);
	if (failed)
		tws_conn_rule_failed(conn);
}

/* It was established, although the program never asked. */
static __attribute__((noinline)) void establish_late(const struct tws_conn *conn,
						     uint64_t now)
{
	tws_conn_note(conn, now);
	conn->slot->established_ns = conn->slot->began_ns;
	tws_conn_count_established(tws_is_single(), conn, tws_conn_tally(conn));
	count_late_peak(conn);
}

/* Moves the slot to ENDING and counts the ending. Whoever moves it counts it. */
static void finish(const struct tws_end *end)
{
	const struct tws_conn *conn = &end->conn;
	struct tws_connection *slot = conn->slot;
	bool was_open = tws_conn_move(conn, TWS_CONN_OPEN, TWS_CONN_ENDING);
	uint64_t now = tws_now();

	if (tws_unlikely(!was_open) &&
	    !tws_conn_move(conn, TWS_CONN_CONNECTING, TWS_CONN_ENDING))
		return;
	if (tws_unlikely(!was_open) && tws_conn_take_unnamed(conn))
		slot->destination = 0; /* where the attempt is counted */
	slot->ending = (uint8_t)end->verdict.ending;
	slot->via = (uint8_t)end->via;
	slot->failure = (uint8_t)end->verdict.failure;
	__atomic_store_n(&conn->book->header->heartbeat_ns, now, __ATOMIC_RELAXED);
	if (tws_likely(tws_ending_was_established(&end->verdict))) {
		if (tws_unlikely(!was_open))
			establish_late(conn, now);
		count_end(end, now);
	} else {
		tws_conn_note(conn, now);
		count_unborn(end, was_open);
	}
	tws_record_ended(tws_is_single(), conn, &end->bytes, now);
}

void tws_conn_end(const struct tws_end *end)
{
	finish(end);
	tws_conn_free(&end->conn);
}

/* What belongs to a connection, not to its socket. */
static void forget_connection(struct tws_connection *slot, uint32_t keep)
{
	tws_port_ring_give(slot->action[TWS_ACTION_RING_PORT]);
	slot->action[TWS_ACTION_RING_PORT] = 0;
	slot->began_ns = slot->established_ns = 0;
	slot->rule = 0;
	slot->ending = slot->via = slot->failure = 0;
	memset(&slot->local, 0, sizeof(slot->local));
	__atomic_fetch_and(&slot->flags, keep, __ATOMIC_RELAXED);
	tws_conn_unname(slot);
}

/* All descriptors of the socket keep leading to the slot. Nobody else moves it while it
 * is ending. */
void tws_conn_dissolve(const struct tws_end *end, uint32_t keep)
{
	finish(end);
	if (!tws_conn_is(&end->conn, TWS_CONN_ENDING))
		return;
	forget_connection(end->conn.slot, keep);
	tws_conn_move(&end->conn, TWS_CONN_ENDING, TWS_CONN_CLAIMED);
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

/* Whether another of our descriptors leads to this inherited connection. (Our own
 * connections have a count of their descriptors.) */
static TWS_COLD bool has_other_descriptor(int fd, uint32_t word)
{
	for (int i = 0; i <= tws_fd_highest(); i++)
		if (i != fd && tws_fd(i) == word)
			return true;
	return false;
}

static TWS_COLD bool closes_on_exec(int fd)
{
	return tws_sys2(SYS_fcntl, fd, F_GETFD) & FD_CLOEXEC;
}

/* Whether another process may hold the connection, or a thread with descriptors of its
 * own. A child that was spawned since then (and has called exec) holds it only if it is
 * not close-on-exec. */
static inline bool may_be_shared(const struct tws_end *end)
{
	const struct tws_connection *slot = end->conn.slot;

	if (tws_unlikely(slot->flags & TWS_CONN_SHARED || !tws_conn_owned(&end->conn) ||
			 __atomic_load_n(&tws_self.tables_split, __ATOMIC_RELAXED)))
		return true;
	return tws_unlikely(slot->action[TWS_ACTION_SPAWNS] !=
			    __atomic_load_n(&tws_self.spawns, __ATOMIC_RELAXED)) &&
	       !closes_on_exec(end->fd);
}

/* We shut down first and our close would drop the socket: the peer's FIN may come between
 * this look and the close, and then TIME_WAIT exists before there is anything to drop. So
 * it may while close() lingers, as the program has asked. */
static bool races_with_fin(const struct tws_end *end, uint32_t flags)
{
	if (flags & TWS_CONN_APP_LINGER_N && end->verdict.ending == TWS_END_FIN_RESET)
		return true;
	return flags & TWS_CONN_SHUT_WRITE &&
	       (end->verdict.ending == TWS_END_RESET_UNREAD ||
		end->verdict.ending == TWS_END_RESET_APP ||
		end->verdict.ending == TWS_END_RESET_POLICY ||
		end->verdict.ending == TWS_END_FIN_RESET);
}

/* For the cases that one poll() does not decide. `events`: what it returned; -1: it
 * was not called. */
static __attribute__((noinline)) void ask_more(struct tws_end *end, int events)
{
	const struct tws_connection *slot = end->conn.slot;
	struct tws_facts facts = {.flags = slot->flags};

	facts.established =
	    tws_conn_state(slot) == TWS_CONN_OPEN && !(slot->flags & TWS_CONN_BELIEVED);
	tws_facts_read(end->fd, events < 0, !end->shared, events, &facts, &end->bytes);
	end->verdict = tws_ending_decide(&facts);
	end->recheck = !end->shared && races_with_fin(end, facts.flags);
}

/* Nearly all connections end like this: established beyond doubt, with nothing unread. */
static inline bool is_usual(const struct tws_connection *slot, int events)
{
	return events == POLLOUT && tws_conn_state(slot) == TWS_CONN_OPEN &&
	       !(slot->flags &
		 (TWS_ENDING_UNUSUAL | TWS_CONN_BELIEVED | TWS_CONN_LOW_WATER));
}

/* `events`: what poll() returned; -1: it was not called. */
static void judge_end(struct tws_end *end, int events)
{
	const struct tws_connection *slot = end->conn.slot;

	end->shared = may_be_shared(end);
	/* If bytes are counted, TCP_INFO comes first. */
	if (events < 0 && !end->conn.book->header->detail)
		events = tws_facts_poll(end->fd);
	if (is_usual(slot, events))
		end->verdict = tws_ending_usual();
	else
		ask_more(end, events);
	if (end->shared || end->recheck)
		tws_conn_name(end->fd, SYS_getsockname, &end->local);
}

void tws_conn_judge_again(struct tws_end *end)
{
	judge_end(end, -1);
}

/* Set field by field, because clearing all of it costs as much as the rest of the
 * look. */
static inline void begin_end(int fd, uint32_t word, enum tws_via via,
			     struct tws_end *ret_end)
{
	ret_end->conn.book = NULL;
	ret_end->fd = fd;
	ret_end->word = word;
	ret_end->via = via;
	ret_end->verdict = (struct tws_verdict){.failure = TWS_COUNTERS};
	ret_end->bytes = (struct tws_bytes){0, 0};
	ret_end->ends = ret_end->shared = ret_end->recheck = false;
}

bool tws_conn_look_at(int fd, const struct tws_conn *conn, enum tws_via via,
		      struct tws_asked asked, struct tws_end *ret_end)
{
	begin_end(fd, conn->word, via, ret_end);
	ret_end->conn = *conn;
	if (tws_conn_state(conn->slot) == TWS_CONN_CLAIMED)
		return true;
	if (tws_conn_owned(conn)
		? __atomic_load_n(&conn->slot->descriptors, __ATOMIC_ACQUIRE) > 1
		: has_other_descriptor(fd, conn->word))
		return true;
	if (asked.cookie != conn->slot->cookie) {
		tws_conn_vanished(fd, conn->word);
		return false;
	}
	ret_end->ends = true;
	judge_end(ret_end, asked.events);
	return true;
}

bool tws_conn_look(int fd, enum tws_via via, struct tws_end *ret_end)
{
	uint32_t word = tws_fd(fd);
	struct tws_book *book = tws_conn_book(word);
	struct tws_asked asked = {.events = -1};
	struct tws_conn conn;

	begin_end(fd, word, via, ret_end);
	if (!word)
		return false;
	if (!book)
		return true; /* a socket that is not connected: only its table word goes
			      */
	asked.cookie =
	    tws_conn_cookie(fd, book); /* before the first look into the book */
	if (tws_fd(fd) != word)
		return false;
	conn = tws_conn_in(book, word);
	return tws_conn_look_at(fd, &conn, via, asked, ret_end);
}

/* ------------------------------------------------------------------ detaching */

/* Two threads have closed the last two descriptors at once, and each saw the other's. */
static TWS_COLD void look_again(struct tws_end *end)
{
	end->ends = tws_conn_state(end->conn.slot) != TWS_CONN_CLAIMED &&
		    tws_conn_cookie(end->fd, end->conn.book) == end->conn.slot->cookie;
	if (end->ends)
		judge_end(end, -1);
}

void tws_conn_detach(struct tws_end *end)
{
	uint32_t left;

	if (!tws_fd_replace(end->fd, end->word, 0)) {
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
