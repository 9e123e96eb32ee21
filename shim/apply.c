/* SPDX-License-Identifier: MIT
 *
 * Sets the socket options that a rule asks for. An option that the program set itself
 * stands unless the rule overrides; one that the kernel lacks is counted and left.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>

#include "shim/conn_move.h"
#include "shim/facts.h"
#include "shim/policy.h"
#include "shim/sys.h"

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* What the slot keeps of the decision, for the close. */
enum { ACTION_CLOSE = 0, ACTION_DRAIN_MS = 1 };
#define CLOSE_MODE(word)  ((enum tws_close_mode)((word)&0xff))
#define CLOSE_DRY_RUN	  (1u << 8)
#define CLOSE_SHORT_LIVED (1u << 9)
#define CLOSE_OVERRIDE	  (1u << 10)

/* How a connection fared with its rule at connect: the worst of its settings tells. */
struct outcome {
	bool set;
	bool kept_app_option;
	bool unsupported;
};

static void set_option(int fd, int level, int name, const void *value, uint32_t size,
		       struct outcome *outcome)
{
	if (tws_setsockopt(fd, level, name, value, size) == 0)
		outcome->set = true;
	else
		outcome->unsupported = true;
}

static void set_int(int fd, int level, int name, int value, struct outcome *outcome)
{
	set_option(fd, level, name, &value, sizeof(value), outcome);
}

static void set_linger(int fd, int on, int seconds, struct outcome *outcome)
{
	struct linger linger = {on, seconds};

	set_option(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger), outcome);
}

/* True: the program set one of `flags` itself and the rule respects that. */
static bool program_decided(const struct tws_action *action, uint32_t flags,
			    uint32_t asked, struct outcome *outcome)
{
	if (!(flags & asked) || action->flags & TWS_ACTION_OVERRIDE)
		return false;
	outcome->kept_app_option = true;
	return true;
}

static void apply_reuseaddr(int fd, const struct tws_action *action, uint32_t flags,
			    struct outcome *outcome)
{
	uint32_t asked =
	    action->flags & (TWS_ACTION_REUSEADDR_ON | TWS_ACTION_REUSEADDR_OFF);

	if (asked && !program_decided(action, flags, TWS_CONN_APP_REUSEADDR, outcome))
		set_int(fd, SOL_SOCKET, SO_REUSEADDR, asked == TWS_ACTION_REUSEADDR_ON,
			outcome);
}

/* The whole range of this network namespace, as the option wants it: high above low. */
static uint32_t full_range(void)
{
	static uint32_t range;
	char buffer[64];
	char *at = buffer;
	uint32_t low = 0, high = 0;
	long length, fd;

	if (range)
		return range;
	fd = tws_sys4(SYS_openat, AT_FDCWD, "/proc/sys/net/ipv4/ip_local_port_range",
		      O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	length = tws_sys3(SYS_read, fd, buffer, sizeof(buffer) - 1);
	tws_sys1(SYS_close, fd);
	buffer[length > 0 ? length : 0] = '\0';
	while (*at >= '0' && *at <= '9')
		low = low * 10 + (uint32_t)(*at++ - '0');
	while (*at == ' ' || *at == '\t')
		at++;
	while (*at >= '0' && *at <= '9')
		high = high * 10 + (uint32_t)(*at++ - '0');
	return range = high << 16 | low;
}

static void apply_port_range(int fd, const struct tws_action *action, uint32_t flags,
			     struct outcome *outcome)
{
	uint32_t range = (uint32_t)action->port_high << 16 | action->port_low;

	if (!(action->flags & TWS_ACTION_PORT_RANGE) || flags & TWS_CONN_APP_BOUND)
		return;
	if (!range)
		range = full_range();
	set_option(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range), outcome);
}

static void apply_fin_timeout(int fd, const struct tws_action *action, uint32_t flags,
			      struct outcome *outcome)
{
	if (action->flags & TWS_ACTION_FIN_TIMEOUT &&
	    !program_decided(action, flags, TWS_CONN_APP_LINGER2, outcome))
		set_int(fd, IPPROTO_TCP, TCP_LINGER2, (int)action->fin_timeout_seconds,
			outcome);
}

/* The close modes that are set at connect, and so hold at exit and SIGKILL too. */
static void apply_close_mode(int fd, const struct tws_conn *conn,
			     const struct tws_decision *decision, struct outcome *outcome)
{
	const struct tws_action *action = &decision->action;
	uint32_t flags = conn->slot->flags;
	bool was_set = outcome->set;

	outcome->set = false;
	if (action->close == TWS_CLOSE_GRACEFUL) {
		if (flags & TWS_CONN_APP_LINGER_0)
			tws_apply_app_linger(fd, conn);
	} else if (action->close == TWS_CLOSE_LINGER) {
		if (!program_decided(action, flags,
				     TWS_CONN_APP_LINGER_0 | TWS_CONN_APP_LINGER_N,
				     outcome))
			set_linger(fd, 1, action->linger_seconds, outcome);
		if (outcome->set)
			conn->slot->flags |= TWS_CONN_POLICY_LINGER_N;
	} else if (action->close == TWS_CLOSE_FIN_RESET && !decision->short_lived_only) {
		if (!program_decided(action, flags, TWS_CONN_APP_LINGER2, outcome))
			set_int(fd, IPPROTO_TCP, TCP_LINGER2, -1, outcome);
		if (outcome->set)
			conn->slot->flags |= TWS_CONN_POLICY_LINGER2;
	}
	outcome->set |= was_set;
}

static void remember(const struct tws_conn *conn, const struct tws_decision *decision)
{
	struct tws_connection *slot = conn->slot;
	uint32_t word = decision->action.close;

	if (decision->action.flags & TWS_ACTION_DRY_RUN)
		word |= CLOSE_DRY_RUN;
	if (decision->short_lived_only)
		word |= CLOSE_SHORT_LIVED;
	if (decision->action.flags & TWS_ACTION_OVERRIDE)
		word |= CLOSE_OVERRIDE;
	slot->action[ACTION_CLOSE] = word;
	slot->action[ACTION_DRAIN_MS] = decision->action.drain_ms;
}

static void count_outcome(const struct tws_conn *conn, const struct outcome *outcome)
{
	struct tws_rule_status *status =
	    conn->slot->rule ? &conn->book->rules[conn->slot->rule - 1] : NULL;

	if (outcome->unsupported)
		tws_conn_count(conn, TWS_policy_unsupported, 1);
	if (outcome->kept_app_option)
		tws_conn_count(conn, TWS_policy_skipped_app_option, 1);
	if (!outcome->set)
		return;
	tws_conn_count(conn, TWS_policy_applied, 1);
	if (status)
		tws_add(&status->applied, 1);
}

/* Whether anything is asked for that is set at connect. */
static bool asks_at_connect(const struct tws_decision *decision)
{
	const struct tws_action *action = &decision->action;

	return action->flags & (TWS_ACTION_REUSEADDR_ON | TWS_ACTION_REUSEADDR_OFF |
				TWS_ACTION_PORT_RANGE | TWS_ACTION_FIN_TIMEOUT |
				TWS_ACTION_PORT_RING) ||
	       action->close == TWS_CLOSE_LINGER ||
	       (action->close == TWS_CLOSE_FIN_RESET && !decision->short_lived_only);
}

static void set_all(int fd, const struct tws_conn *conn,
		    const struct tws_decision *decision)
{
	struct outcome outcome = {false, false, false};
	uint32_t flags = conn->slot->flags;

	apply_reuseaddr(fd, &decision->action, flags, &outcome);
	apply_port_range(fd, &decision->action, flags, &outcome);
	apply_fin_timeout(fd, &decision->action, flags, &outcome);
	apply_close_mode(fd, conn, decision, &outcome);
	count_outcome(conn, &outcome);
}

void tws_apply_connect(int fd, const struct tws_conn *conn)
{
	struct tws_decision decision = tws_policy_decide(conn->book, &conn->slot->remote);

	conn->slot->rule = decision.rule;
	conn->slot->arm = decision.arm;
	conn->slot->action[ACTION_CLOSE] = TWS_CLOSE_KEEP;
	if (!decision.matched)
		return;
	if (!tws_rule_matched(&decision)) {
		tws_conn_count(conn, TWS_policy_skipped_stopped, 1);
		return;
	}
	remember(conn, &decision);
	if (!(decision.action.flags & TWS_ACTION_DRY_RUN))
		set_all(fd, conn, &decision);
	else if (asks_at_connect(&decision))
		tws_conn_count(conn, TWS_policy_would_apply, 1);
}

/* No destination is known yet: rules are held against the executable and the uid alone.
 * Both options do no harm to a connection that their rule turns out not to be for. */
void tws_apply_bind(int fd, bool to_port_0)
{
	struct tws_decision decision = tws_policy_decide(NULL, NULL);
	struct outcome outcome = {false, false, false};

	if (!decision.matched || decision.action.flags & TWS_ACTION_DRY_RUN)
		return;
	apply_reuseaddr(fd, &decision.action, tws_conn_flags(fd), &outcome);
	if (!to_port_0 || !(decision.action.flags & TWS_ACTION_LATE_BIND))
		return;
	outcome.set = false;
	set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, &outcome);
	if (outcome.set)
		tws_conn_flags_change(fd, TWS_CONN_LATE_BIND, 0);
}

void tws_apply_app_linger(int fd, const struct tws_conn *conn)
{
	struct tws_connection *slot = conn->slot;
	struct outcome outcome = {false, false, false};

	if (CLOSE_MODE(slot->action[ACTION_CLOSE]) != TWS_CLOSE_GRACEFUL)
		return;
	if (slot->action[ACTION_CLOSE] & CLOSE_DRY_RUN) {
		tws_conn_count(conn, TWS_policy_would_apply, 1);
		return;
	}
	set_linger(fd, 0, 0, &outcome);
	if (outcome.set)
		slot->flags &= ~(uint32_t)TWS_CONN_APP_LINGER_0;
	count_outcome(conn, &outcome);
}

/* ------------------------------------------------------------------ at close */

/* Why a reset that the rule asks for is not done; TWS_COUNTERS: nothing speaks against.
 */
static enum tws_counter objection(const struct tws_end *end, uint32_t word)
{
	uint32_t app = TWS_CONN_APP_LINGER_0 | TWS_CONN_APP_LINGER_N;

	if (CLOSE_MODE(word) == TWS_CLOSE_FIN_RESET)
		app = TWS_CONN_APP_LINGER2;
	if (end->verdict.doubtful)
		return TWS_policy_too_late;
	if (end->shared)
		return TWS_policy_skipped_shared;
	if (end->conn.slot->flags & app && !(word & CLOSE_OVERRIDE))
		return TWS_policy_skipped_app_option;
	return TWS_COUNTERS;
}

/* Waits until all is acknowledged, at most `ms`; sleeps a millisecond at a time, since no
 * event tells. */
static bool drained(int fd, uint32_t ms)
{
	struct timespec tick = {0, 1000000};
	uint64_t until = tws_now() + (uint64_t)ms * 1000000;

	while (tws_facts_unsent(fd)) {
		if (tws_now() >= until)
			return false;
		tws_sys2(SYS_nanosleep, &tick, 0);
	}
	return true;
}

static void reset(struct tws_end *end, uint32_t unsent)
{
	const struct tws_conn *conn = &end->conn;
	struct outcome outcome = {false, false, false};

	set_linger(end->fd, 1, 0, &outcome);
	count_outcome(conn, &outcome);
	if (!outcome.set)
		return;
	conn->slot->flags |= TWS_CONN_POLICY_RESET;
	end->verdict.ending = TWS_END_RESET_POLICY;
	end->verdict.time_wait = false;
	if (unsent)
		tws_conn_count(conn, TWS_bytes_discarded, unsent);
	tws_rule_discarded(conn, unsent);
}

static void fin_reset(struct tws_end *end)
{
	struct outcome outcome = {false, false, false};

	set_int(end->fd, IPPROTO_TCP, TCP_LINGER2, -1, &outcome);
	count_outcome(&end->conn, &outcome);
	if (!outcome.set)
		return;
	end->conn.slot->flags |= TWS_CONN_POLICY_LINGER2;
	end->verdict.ending = TWS_END_FIN_RESET;
	end->verdict.time_wait = false;
}

static bool is_short_lived(const struct tws_end *end)
{
	uint64_t lifetime = tws_now() - end->conn.slot->established_ns;

	return lifetime / 1000000 < end->conn.book->header->short_lived_ms;
}

static void carry_out(struct tws_end *end, uint32_t word)
{
	const struct tws_conn *conn = &end->conn;
	enum tws_close_mode mode = CLOSE_MODE(word);

	if (mode == TWS_CLOSE_FIN_RESET)
		fin_reset(end);
	else if (mode == TWS_CLOSE_RESET_DRAINED &&
		 !drained(end->fd, conn->slot->action[ACTION_DRAIN_MS]))
		tws_conn_count(conn, TWS_policy_skipped_unsent, 1);
	else if (!tws_rule_may_reset(conn))
		tws_conn_count(conn, TWS_policy_skipped_rate, 1);
	else
		reset(end, mode == TWS_CLOSE_RESET ? tws_facts_unsent(end->fd) : 0);
}

void tws_apply_close(struct tws_end *end)
{
	uint32_t word = end->conn.book ? end->conn.slot->action[ACTION_CLOSE] : 0;
	enum tws_close_mode mode = CLOSE_MODE(word);
	enum tws_counter against;

	if (mode != TWS_CLOSE_RESET && mode != TWS_CLOSE_RESET_DRAINED &&
	    !(mode == TWS_CLOSE_FIN_RESET && word & CLOSE_SHORT_LIVED))
		return;
	if (!end->ends || !end->verdict.time_wait)
		return;
	if (word & CLOSE_SHORT_LIVED && !is_short_lived(end))
		return;
	against = objection(end, word);
	if (against != TWS_COUNTERS)
		tws_conn_count(&end->conn, against, 1);
	else if (word & CLOSE_DRY_RUN)
		tws_conn_count(&end->conn, TWS_policy_would_apply, 1);
	else
		carry_out(end, word);
}
