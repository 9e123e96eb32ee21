/* SPDX-License-Identifier: MIT
 *
 * Sets the socket options that a rule asks for. An option that the program set itself is
 * kept unless the rule overrides it. An option that the kernel lacks is counted and
 * skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>

#include "shim/policy/apply_option.h"
#include "shim/shared/breaker.h"
#include "shim/book/port_ring.h"
#include "shim/conn/alone.h"
#include "shim/shared/newer.h"

#define RING_TRIES 8

/* Whether the program set one of `flags` itself and the rule respects that. */
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

/* The whole port range of this network namespace in the form of the option: high above
 * low. */
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

/* Whether the kernel will pick the port at connect(). This is also so for a socket
 * that was bound without a port. */
static bool lacks_port(uint32_t flags)
{
	return !(flags & TWS_CONN_APP_BOUND) ||
	       (!(flags & TWS_CONN_APP_BOUND_0) && flags & TWS_CONN_APP_NO_PORT) ||
	       flags & TWS_CONN_LATE_BIND;
}

static void apply_port_range(int fd, const struct tws_conn *conn,
			     const struct tws_action *action, struct outcome *outcome)
{
	uint32_t range = (uint32_t)action->port_high << 16 | action->port_low;

	if (!(action->flags & TWS_ACTION_PORT_RANGE))
		return;
	if (!lacks_port(conn->slot->flags)) {
		outcome->kept_app_option = true;
		return;
	}
	if (!range)
		range = full_range();
	set_option(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range), outcome);
	if (!outcome->unsupported)
		conn->slot->flags |= TWS_CONN_PORT_RANGE;
}

static bool is_blocking(int fd)
{
	return !(tws_sys2(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK);
}

static long bind_to(int fd, bool ipv6, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	return ipv6 ? tws_sys3(SYS_bind, fd, &in6, sizeof(in6))
		    : tws_sys3(SYS_bind, fd, &in, sizeof(in));
}

/* Takes a port, waiting for one to come of age if the program can wait. */
static int take_port(int fd, const struct tws_conn *conn, const struct tws_action *action,
		     uint32_t range, uint16_t *ret_port)
{
	uint32_t *word = &conn->slot->action[TWS_ACTION_RING_PORT];
	uint32_t wait_ms;
	int ret = tws_port_ring_take((uint16_t)range, (uint16_t)(range >> 16),
				     action->ring_age_ms, ret_port, word, &wait_ms);
	struct timespec wait;

	if (ret != -EAGAIN || !wait_ms || !is_blocking(fd))
		return ret;
	tws_conn_count(conn, TWS_policy_waited, 1);
	for (uint32_t waited = 0; ret == -EAGAIN && waited <= action->ring_age_ms;
	     waited++) {
		wait =
		    (struct timespec){wait_ms / 1000, wait_ms % 1000 * 1000000 + 500000};
		tws_sys2(SYS_nanosleep, &wait, 0);
		waited += wait_ms;
		ret = tws_port_ring_take((uint16_t)range, (uint16_t)(range >> 16),
					 action->ring_age_ms, ret_port, word, &wait_ms);
	}
	return ret;
}

/* A port that another socket holds (EADDRINUSE) goes to the end of the ring, and the
 * next one is tried. */
static void bind_ring_port(int fd, const struct tws_conn *conn,
			   const struct tws_action *action, uint32_t range,
			   struct outcome *outcome)
{
	uint32_t *word = &conn->slot->action[TWS_ACTION_RING_PORT];
	uint16_t port;

	for (int tries = 0; tries < RING_TRIES; tries++) {
		*word = 0;
		if (take_port(fd, conn, action, range, &port) != 0)
			break;
		if (bind_to(fd, conn->slot->flags & TWS_CONN_IPV6, port) == 0) {
			conn->slot->flags |= TWS_CONN_PORT_RING;
			return;
		}
		tws_port_ring_give(*word);
	}
	*word = 0;
	outcome->set = false;
	tws_conn_count(conn, TWS_policy_skipped_busy, 1);
}

static void apply_port_ring(int fd, const struct tws_conn *conn,
			    const struct tws_action *action, struct outcome *outcome)
{
	uint32_t range = (uint32_t)action->ring_high << 16 | action->ring_low;

	if (!(action->flags & TWS_ACTION_PORT_RING) ||
	    conn->slot->action[TWS_ACTION_RING_PORT])
		return;
	if (conn->slot->flags & TWS_CONN_APP_BOUND) {
		outcome->kept_app_option = true;
		return;
	}
	if (!tws_port_ring_supported()) {
		outcome->unsupported = true;
		return;
	}
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1, outcome);
	if (outcome->set)
		bind_ring_port(fd, conn, action, range ? range : full_range(), outcome);
}

static void apply_fin_timeout(int fd, const struct tws_action *action, uint32_t flags,
			      struct outcome *outcome)
{
	if (action->flags & TWS_ACTION_FIN_TIMEOUT &&
	    !program_decided(action, flags, TWS_CONN_APP_LINGER2, outcome))
		set_int(fd, IPPROTO_TCP, TCP_LINGER2, (int)action->fin_timeout_seconds,
			outcome);
}

static struct outcome remove_app_linger(int fd, const struct tws_conn *conn)
{
	struct outcome outcome = {false, false, false};

	set_linger(fd, 0, 0, &outcome);
	if (outcome.set)
		__atomic_fetch_and(&conn->slot->flags, ~(uint32_t)TWS_CONN_APP_LINGER_0,
				   __ATOMIC_RELAXED);
	return outcome;
}

/* Whether it helps is known, and counted, only when the connection ends. */
static void apply_fin_reset(int fd, const struct tws_conn *conn,
			    const struct tws_action *action, struct outcome *outcome)
{
	uint32_t flags = conn->slot->flags;

	if (flags & TWS_CONN_APP_LINGER_0 && action->flags & TWS_ACTION_OVERRIDE)
		remove_app_linger(fd, conn);
	if (!program_decided(action, flags, TWS_CONN_APP_LINGER2, outcome))
		set_int(fd, IPPROTO_TCP, TCP_LINGER2, -1, outcome);
	if (outcome->set)
		conn->slot->flags |= TWS_CONN_POLICY_LINGER2;
	outcome->set = false;
}

/* Sets the close modes that are set at connect, and so also hold at exit and SIGKILL. */
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
		apply_fin_reset(fd, conn, action, outcome);
	}
	outcome->set |= was_set;
}

/* Whether anything is asked for that takes effect at connect, or took at bind(). */
static bool asks_at_connect(const struct tws_conn *conn,
			    const struct tws_decision *decision)
{
	const struct tws_action *action = &decision->action;

	if (action->flags & TWS_ACTION_LATE_BIND &&
	    conn->slot->flags & TWS_CONN_APP_BOUND_0)
		return true;
	return action->flags & (TWS_ACTION_REUSEADDR_ON | TWS_ACTION_REUSEADDR_OFF |
				TWS_ACTION_PORT_RANGE | TWS_ACTION_FIN_TIMEOUT |
				TWS_ACTION_PORT_RING) ||
	       action->close == TWS_CLOSE_LINGER;
}

static void remember(const struct tws_conn *conn, const struct tws_decision *decision)
{
	uint32_t word = decision->action.close;

	if (decision->action.flags & TWS_ACTION_DRY_RUN)
		word |= CLOSE_DRY_RUN;
	if (decision->short_lived_only)
		word |= CLOSE_SHORT_LIVED;
	if (decision->action.flags & TWS_ACTION_OVERRIDE)
		word |= CLOSE_OVERRIDE;
	if (asks_at_connect(conn, decision))
		word |= CLOSE_COUNTED;
	if (decision->action.close == TWS_CLOSE_RESET ||
	    decision->action.close == TWS_CLOSE_RESET_DRAINED)
		tws_alone_arm();
	if (decision->action.close != TWS_CLOSE_KEEP)
		tws_plan_set(conn, word, decision->action.drain_ms);
}

static void set_all(int fd, const struct tws_conn *conn,
		    const struct tws_decision *decision)
{
	struct outcome outcome = {false, false, false};
	uint32_t flags = conn->slot->flags;

	apply_reuseaddr(fd, &decision->action, flags, &outcome);
	apply_port_range(fd, conn, &decision->action, &outcome);
	apply_port_ring(fd, conn, &decision->action, &outcome);
	apply_fin_timeout(fd, &decision->action, flags, &outcome);
	apply_close_mode(fd, conn, decision, &outcome);
	tws_apply_count(conn, &outcome);
}

void tws_apply_connect(int fd, const struct tws_conn *conn)
{
	struct tws_decision decision = tws_policy_decide(conn->book, &conn->slot->remote);

	conn->slot->rule = decision.rule;
	conn->slot->arm = decision.arm;
	if (!decision.matched)
		return;
	if (decision.status && !tws_breaker_matched(decision.status)) {
		tws_conn_count(conn, TWS_policy_skipped_stopped, 1);
		return;
	}
	remember(conn, &decision);
	if (!(decision.action.flags & TWS_ACTION_DRY_RUN))
		set_all(fd, conn, &decision);
	else if (asks_at_connect(conn, &decision))
		tws_conn_count(conn, TWS_policy_would_apply, 1);
}

/* No destination is known yet, so rules are matched by executable and user alone. Both
 * options are harmless on a connection that the rule turns out not to match. */
void tws_apply_bind(int fd, bool to_port_0)
{
	struct tws_decision decision = tws_policy_decide(NULL, NULL);
	struct outcome outcome = {false, false, false};
	uint32_t flags = tws_conn_flags(fd);

	if (!decision.matched || decision.action.flags & TWS_ACTION_DRY_RUN)
		return;
	apply_reuseaddr(fd, &decision.action, flags, &outcome);
	if (!to_port_0 || !(decision.action.flags & TWS_ACTION_LATE_BIND) ||
	    flags & TWS_CONN_APP_NO_PORT)
		return;
	outcome.set = false;
	set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, &outcome);
	if (outcome.set)
		tws_conn_flags_change(fd, TWS_CONN_LATE_BIND, 0);
}

static bool is_set(int fd, int level, int name)
{
	int value = 0;
	uint32_t length = sizeof(value);

	return tws_getsockopt(fd, level, name, &value, &length) == 0 && value;
}

bool tws_apply_bind_again(int fd)
{
	if (is_set(fd, SOL_SOCKET, SO_REUSEADDR))
		return false;
	tws_apply_bind(fd, false);
	return is_set(fd, SOL_SOCKET, SO_REUSEADDR);
}

bool tws_apply_bind_now(int fd)
{
	struct sockaddr_storage local = {0};
	uint32_t length = sizeof(local);
	struct outcome outcome = {false, false, false};

	if (tws_sys3(SYS_getsockname, fd, TWS_ARG(&local), TWS_ARG(&length)) != 0)
		return false;
	set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0, &outcome);
	return outcome.set && tws_sys3(SYS_bind, fd, TWS_ARG(&local), length) == 0;
}

/* Whether the plan removes the program's own SO_LINGER {1,0}. */
static bool removes_app_linger(const struct tws_plan *plan)
{
	enum tws_close_mode mode = plan ? CLOSE_MODE(plan->close) : TWS_CLOSE_KEEP;

	return mode == TWS_CLOSE_GRACEFUL ||
	       (mode == TWS_CLOSE_FIN_RESET && plan->close & CLOSE_OVERRIDE &&
		!(plan->close & (CLOSE_SHORT_LIVED | CLOSE_DRY_RUN)));
}

void tws_apply_app_linger(int fd, const struct tws_conn *conn)
{
	const struct tws_plan *plan = tws_plan_of(conn);
	struct outcome outcome;

	if (!removes_app_linger(plan))
		return;
	if (plan->close & CLOSE_DRY_RUN) {
		tws_conn_count(conn, TWS_policy_would_apply, 1);
		return;
	}
	outcome = remove_app_linger(fd, conn);
	if (CLOSE_MODE(plan->close) == TWS_CLOSE_GRACEFUL)
		tws_apply_count(conn, &outcome);
}
