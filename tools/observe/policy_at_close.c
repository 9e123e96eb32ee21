/* SPDX-License-Identifier: MIT */
#include "tools/observe/policy_at_close.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "shim/shared/clock.h"
#include "shim/shared/ending.h"
#include "shim/shared/policy_image.h"
#include "tools/observe/caller_alone.h"
#include "tools/observe/publish_parts.h"
#include "shim/shared/tcp_state.h"

#define MS 1000000ull

/* A socket that is about to be closed. */
struct closing {
	struct open_connection *open;
	const struct caller *caller;
	int fd, number;
	struct linger linger; /* the program's own */
	bool own_linger2;
	bool has_info;
	struct tcp_info info;
};

static uint32_t queue_length(int fd, unsigned long request)
{
	int length = 0;

	return ioctl(fd, request, &length) == 0 && length > 0 ? (uint32_t)length : 0;
}

/* Bytes that were not acknowledged. */
static uint32_t unsent(const struct closing *closing)
{
	uint32_t queued = queue_length(closing->fd, SIOCOUTQ);

	return queued && tcp_state_owes_fin(closing->info.tcpi_state) ? queued - 1
								      : queued;
}

static int linger2_of(int fd)
{
	int value = 0;
	socklen_t length = sizeof(value);

	return getsockopt(fd, IPPROTO_TCP, TCP_LINGER2, &value, &length) == 0 ? value : 0;
}

/* How it will end. The pending error is the program's and is not asked for. */
static struct tws_verdict foresee(const struct closing *closing)
{
	struct tws_facts facts = {
	    .flags = closing->open->flags & (TWS_CONN_POLICY_LINGER2),
	    .established = true,
	    .has_info = true,
	    .tcp_state = closing->info.tcpi_state,
	    .unsent = closing->info.tcpi_notsent_bytes > 0,
	    .unread = queue_length(closing->fd, SIOCINQ),
	};

	if (!closing->has_info)
		return (struct tws_verdict){.ending = TWS_END_NONE};
	if (closing->linger.l_onoff && !closing->linger.l_linger)
		facts.flags |= TWS_CONN_APP_LINGER_0;
	return tws_ending_decide(&facts);
}

/* What the kernel's last words do not show. A reset empties its counters. */
static void note_foreseen(const struct closing *closing,
			  const struct tws_verdict *verdict)
{
	const struct tcp_info *info = &closing->info;
	struct open_connection *open = closing->open;
	const uint8_t state = info->tcpi_state;

	open->decided = TWS_END_NONE;
	if (verdict->ending == TWS_END_REMOTE_FIN ||
	    verdict->ending == TWS_END_FIN_RESET || verdict->ending == TWS_END_LOCAL_FIN)
		open->decided = (uint8_t)verdict->ending;
	open->state_at_close = state;
	open->bytes_sent = tcp_state_bytes_sent(info);
	open->bytes_received = info->tcpi_bytes_received - tcp_state_has_fin(state);
}

static void set_linger(const struct closing *closing, int on)
{
	const struct linger linger = {on, 0};

	setsockopt(closing->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static bool is_short_lived(const struct open_connection *open)
{
	uint64_t since = open->established_ns ? open->established_ns : open->began_ns;

	return tws_now() - since < open->plan.short_lived_ms * MS;
}

/* The reason against what the rule asks for, as a counter; TWS_COUNTERS: there is none.
 */
static enum tws_counter objection(const struct closing *closing)
{
	const struct close_plan *plan = &closing->open->plan;
	bool own = plan->mode == TWS_CLOSE_FIN_RESET ? closing->own_linger2
						     : closing->linger.l_onoff;

	if (own && !plan->override)
		return TWS_policy_skipped_app_option;
	if (plan->mode == TWS_CLOSE_FIN_RESET)
		return TWS_COUNTERS;
	if (plan->mode == TWS_CLOSE_RESET_DRAINED && unsent(closing))
		return TWS_policy_skipped_unsent;
	if (!caller_is_alone(closing->caller, closing->number, plan->waited_for))
		return TWS_policy_skipped_shared;
	if (!plan->dry_run && !publish_may_reset(closing->open))
		return TWS_policy_skipped_rate;
	return TWS_COUNTERS;
}

static void fin_reset(const struct closing *closing)
{
	struct open_connection *open = closing->open;
	int value = -1;

	if (setsockopt(closing->fd, IPPROTO_TCP, TCP_LINGER2, &value, sizeof(value)) !=
	    0) {
		publish_count(open, TWS_policy_unsupported, 1);
		return;
	}
	open->flags |= TWS_CONN_POLICY_LINGER2;
	open->decided = TWS_END_FIN_RESET;
}

static void reset(const struct closing *closing)
{
	struct open_connection *open = closing->open;
	uint32_t discarded = unsent(closing);

	set_linger(closing, 1);
	open->flags |= TWS_CONN_POLICY_RESET;
	open->decided = TWS_END_RESET_POLICY;
	if (discarded)
		publish_discarded(open, discarded);
}

/* Removes the program's own SO_LINGER {1,0}. */
static void be_graceful(const struct closing *closing)
{
	struct open_connection *open = closing->open;

	if (!closing->linger.l_onoff || closing->linger.l_linger)
		return;
	if (open->plan.dry_run) {
		publish_count(open, TWS_policy_would_apply, 1);
		return;
	}
	set_linger(closing, 0);
	publish_applied(open);
}

/* Counted when the connection ends, because another descriptor may be closed later. */
static void note_outcome(struct open_connection *open, enum tws_counter counter)
{
	open->to_count = (uint8_t)(counter + 1);
}

static void carry_out(const struct closing *closing)
{
	struct open_connection *open = closing->open;
	const struct close_plan *plan = &open->plan;
	enum tws_counter against;

	against = objection(closing);
	if (against != TWS_COUNTERS)
		note_outcome(open, against);
	else if (plan->dry_run && !plan->counted)
		note_outcome(open, TWS_policy_would_apply);
	else if (!plan->dry_run && plan->mode == TWS_CLOSE_FIN_RESET)
		fin_reset(closing);
	else if (!plan->dry_run)
		reset(closing);
}

/* What another process inherited is not its to end. */
static bool is_owner(const struct closing *closing)
{
	const struct observed *observed = closing->caller->observed;

	return observed && observed->published == closing->open->published;
}

/* Whether its rule wants it to end in another way. */
static bool acts_on_ending(const struct open_connection *open)
{
	return open->plan.mode != TWS_CLOSE_KEEP &&
	       open->plan.mode != TWS_CLOSE_GRACEFUL &&
	       (!open->plan.short_lived || is_short_lived(open));
}

void policy_at_close(struct open_connection *open, const struct caller *caller, int fd,
		     int number, int usual_linger2)
{
	struct closing closing = {.open = open,
				  .caller = caller,
				  .fd = fd,
				  .number = number,
				  .own_linger2 = linger2_of(fd) != usual_linger2};
	socklen_t length = sizeof(closing.linger);
	struct tws_verdict verdict;

	getsockopt(fd, SOL_SOCKET, SO_LINGER, &closing.linger, &length);
	length = sizeof(closing.info);
	closing.has_info =
	    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &closing.info, &length) == 0;
	if (open->plan.mode == TWS_CLOSE_GRACEFUL && is_owner(&closing))
		be_graceful(&closing);
	verdict = foresee(&closing);
	note_foreseen(&closing, &verdict);
	if (!acts_on_ending(open) || !is_owner(&closing))
		return;
	open->to_count = 0;
	if (verdict.time_wait)
		carry_out(&closing);
	else if (closing.info.tcpi_state == STATE_CLOSE)
		note_outcome(open, TWS_policy_too_late);
}
