/* SPDX-License-Identifier: MIT
 *
 * What a rule decides when a connection is about to end. Its cookie has just been
 * checked, so the socket is the connection that the rule matched. A connection that
 * leaves no TIME_WAIT anyway is left alone, and so is one that another process may hold.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "shim/shared/breaker.h"
#include "shim/conn/facts.h"
#include "shim/conn/fresh.h"
#include "shim/conn/alone.h"
#include "shim/policy/apply_option.h"
#include "shim/shared/clock.h"

void tws_apply_count(const struct tws_conn *conn, const struct outcome *outcome)
{
	if (outcome->unsupported)
		tws_conn_count(conn, TWS_policy_unsupported, 1);
	if (outcome->kept_app_option)
		tws_conn_count(conn, TWS_policy_skipped_app_option, 1);
	if (outcome->set)
		tws_conn_count_applied(conn);
}

/* The reason against a reset that the rule asks for, as a counter; TWS_COUNTERS: there
 * is none. */
static enum tws_counter objection(const struct tws_end *end, uint32_t word)
{
	uint32_t app = TWS_CONN_APP_LINGER_0 | TWS_CONN_APP_LINGER_N;

	if (CLOSE_MODE(word) == TWS_CLOSE_FIN_RESET)
		app = TWS_CONN_APP_LINGER2;
	if (end->verdict.doubtful)
		return TWS_policy_too_late;
	if (end->shared &&
	    !(CLOSE_MODE(word) == TWS_CLOSE_FIN_RESET && !(word & CLOSE_SHORT_LIVED)))
		return TWS_policy_skipped_shared;
	if (end->conn.slot->flags & app && !(word & CLOSE_OVERRIDE))
		return TWS_policy_skipped_app_option;
	/* exit() flushes its streams later than anything of ours runs. */
	if (CLOSE_MODE(word) == TWS_CLOSE_RESET_DRAINED && end->via == TWS_VIA_EXIT &&
	    end->conn.slot->flags & TWS_CONN_STREAM)
		return TWS_policy_skipped_unsent;
	return TWS_COUNTERS;
}

static uint32_t unsent(const struct tws_end *end)
{
	return tws_facts_unsent(end->fd, end->conn.slot->flags);
}

/* Waits until all data is acknowledged, for at most `ms`. It sleeps a millisecond at a
 * time, because there is no event to wait for. Meanwhile the peer may have closed. */
static bool drained(struct tws_end *end, uint32_t ms)
{
	struct timespec tick = {0, 1000000};
	uint64_t until = tws_now() + (uint64_t)ms * 1000000;
	bool waited = false;

	while (unsent(end)) {
		if (tws_now() >= until)
			return false;
		tws_sys2(SYS_nanosleep, &tick, 0);
		waited = true;
	}
	if (waited)
		tws_conn_judge_again(end);
	return true;
}

static void note_discarded(const struct tws_conn *conn, uint32_t bytes)
{
	uint32_t rule = tws_conn_rule(conn);

	tws_conn_count(conn, TWS_bytes_discarded, bytes);
	if (rule)
		tws_breaker_discarded(&conn->book->rules[rule - 1], rule - 1, bytes);
}

static bool may_reset(const struct tws_conn *conn)
{
	uint32_t rule = tws_conn_rule(conn);

	return !rule || tws_breaker_may_reset(&conn->book->rules[rule - 1], rule - 1);
}

/* Where the program shut down first, or its close() lingers, the peer's FIN may have come
 * since the look, or may come before the socket is dropped. */
static void decide_again(struct tws_end *end, enum tws_ending ending)
{
	end->verdict.ending = ending;
	end->verdict.time_wait = false;
	if (end->conn.slot->flags & (TWS_CONN_SHUT_WRITE | TWS_CONN_APP_LINGER_N))
		tws_conn_judge_again(end);
}

static void reset(struct tws_end *end, uint32_t discarded)
{
	const struct tws_conn *conn = &end->conn;
	struct outcome outcome = {false, false, false};

	set_linger(end->fd, 1, 0, &outcome);
	if (outcome.unsupported)
		tws_apply_count(conn, &outcome);
	if (!outcome.set)
		return;
	conn->slot->flags |= TWS_CONN_POLICY_RESET;
	decide_again(end, TWS_END_RESET_POLICY);
	if (discarded && end->verdict.ending == TWS_END_RESET_POLICY)
		note_discarded(conn, discarded);
}

static void fin_reset(struct tws_end *end)
{
	struct outcome outcome = {false, false, false};

	/* An MPTCP socket takes the option, and it has no effect. */
	if (end->conn.slot->flags & TWS_CONN_MPTCP)
		outcome.unsupported = true;
	else
		set_int(end->fd, IPPROTO_TCP, TCP_LINGER2, -1, &outcome);
	if (outcome.unsupported)
		tws_apply_count(&end->conn, &outcome);
	if (!outcome.set)
		return;
	end->conn.slot->flags |= TWS_CONN_POLICY_LINGER2;
	decide_again(end, TWS_END_FIN_RESET);
}

/* Nobody who holds the socket as well may lose what he has still to send. If somebody
 * may, the kernel is asked after the close whether it lives on. */
static bool is_held_elsewhere(struct tws_end *end)
{
	if (tws_alone(end))
		return false;
	end->shared = true;
	tws_conn_name(end->fd, SYS_getsockname, &end->local);
	tws_conn_count(&end->conn, TWS_policy_skipped_shared, 1);
	return true;
}

/* While we waited, the peer closed: first, or after the program had shut down. */
static void count_came_late(const struct tws_end *end)
{
	if (end->verdict.doubtful)
		tws_conn_count(&end->conn, TWS_policy_too_late, 1);
}

static void carry_out(struct tws_end *end, const struct tws_plan *plan)
{
	const struct tws_conn *conn = &end->conn;
	enum tws_close_mode mode = CLOSE_MODE(plan->close);

	if (mode == TWS_CLOSE_FIN_RESET)
		fin_reset(end);
	else if (mode == TWS_CLOSE_RESET_DRAINED && !drained(end, plan->drain_ms))
		tws_conn_count(conn, TWS_policy_skipped_unsent, 1);
	else if (!end->verdict.time_wait || end->verdict.doubtful)
		count_came_late(end);
	else if (is_held_elsewhere(end)) /* asked last: the wait may have taken long */
		return;
	else if (!may_reset(conn))
		tws_conn_count(conn, TWS_policy_skipped_rate, 1);
	else
		reset(end, mode == TWS_CLOSE_RESET ? unsent(end) : 0);
}

/* Once per connection: a rule with more than its close mode was counted at connect(). */
static void count_would_apply(const struct tws_end *end, uint32_t word)
{
	if (!(word & CLOSE_COUNTED))
		tws_conn_count(&end->conn, TWS_policy_would_apply, 1);
}

void tws_carry_out_close(struct tws_end *end)
{
	const struct tws_plan *plan = end->conn.book ? tws_plan_of(&end->conn) : NULL;
	const uint32_t word = plan ? plan->close : TWS_CLOSE_KEEP;
	enum tws_close_mode mode = CLOSE_MODE(word);
	enum tws_counter against;

	if (mode != TWS_CLOSE_RESET && mode != TWS_CLOSE_RESET_DRAINED &&
	    !(mode == TWS_CLOSE_FIN_RESET && word & (CLOSE_SHORT_LIVED | CLOSE_DRY_RUN)))
		return;
	/* The rule does not apply to a child's share of an inherited connection. */
	if (!end->ends || !end->verdict.time_wait || !tws_conn_owned(&end->conn))
		return;
	if (word & CLOSE_SHORT_LIVED && !tws_conn_is_short_lived(&end->conn, tws_now()))
		return;
	against = objection(end, word);
	if (against != TWS_COUNTERS)
		tws_conn_count(&end->conn, against, 1);
	else if (!(word & CLOSE_DRY_RUN))
		carry_out(end, plan);
	else if (mode == TWS_CLOSE_FIN_RESET || !is_held_elsewhere(end))
		count_would_apply(end, word);
}

void tws_apply_undo_close(int fd, const struct tws_conn *conn)
{
	const uint32_t flags = conn->slot->flags;
	struct outcome ignored;

	if (flags & TWS_CONN_POLICY_LINGER2 && !(flags & TWS_CONN_APP_LINGER2))
		set_int(fd, IPPROTO_TCP, TCP_LINGER2, 0, &ignored);
}

bool tws_policy_plans_reset(int fd)
{
	const struct tws_plan *plan;
	struct tws_conn conn;

	tws_freshen(fd);
	conn = tws_conn_of(tws_fd(fd));
	plan = conn.book ? tws_plan_of(&conn) : NULL;
	return plan && !(plan->close & CLOSE_DRY_RUN) &&
	       (CLOSE_MODE(plan->close) == TWS_CLOSE_RESET ||
		CLOSE_MODE(plan->close) == TWS_CLOSE_RESET_DRAINED);
}
