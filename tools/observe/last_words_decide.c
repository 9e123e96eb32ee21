/* SPDX-License-Identifier: MIT
 *
 * A socket is freed after its connection ended, and the counters that are left in it tell
 * how. tcp_disconnect(), which a failed blocking connect() and a reset by SO_LINGER {1,0}
 * go through, sets most of them to 0, but not the time of the last data.
 */
#include "tools/observe/call.h"
#include "shim/shared/tcp_state.h"

#define MS	 1000000ull
#define CLOCK_MS 20 /* the kernel's clock is that coarse */

static bool was_established(const struct last_words *words, uint64_t began_ns)
{
	uint64_t age_ms = (words->read_ns - began_ns) / MS;

	return words->info.tcpi_bytes_acked ||
	       words->info.tcpi_last_data_sent <= age_ms + CLOCK_MS;
}

/* A program may give up just then, or when the kernel has given up already. */
static bool timed_out(const struct last_words *words, uint64_t began_ns,
		      const struct attempt_limits *limits)
{
	const uint32_t retries = words->info.tcpi_total_retrans;

	return retries >= limits->syn_retries ||
	       (retries && limits->user_timeout_ms &&
		words->read_ns - began_ns >= limits->user_timeout_ms * MS);
}

/* An attempt that came to nothing. Why one failed before it sent anything is left open:
 * failed_other. */
static void decide_attempt(const struct last_words *words,
			   const struct attempt_limits *limits,
			   struct publish_connection *ended)
{
	const struct tcp_info *info = &words->info;

	ended->ending = TWS_END_FAILED;
	ended->failure = TWS_failed_other;
	if (info->tcpi_segs_out == 0)
		return;
	if (info->tcpi_segs_in)
		ended->failure = TWS_failed_refused;
	else if (timed_out(words, ended->began_ns, limits))
		ended->failure = TWS_failed_timed_out;
	else
		ended->ending = TWS_END_ABANDONED;
}

/* A peer that closed first sent its FIN, which the kernel counts as a byte received, and
 * later an acknowledgement of ours: two segments beside its SYN, of which the first may
 * carry data. */
static bool may_have_closed_first(const struct last_words *words)
{
	const struct tcp_info *info = &words->info;
	const uint32_t empty = info->tcpi_segs_in - info->tcpi_data_segs_in;

	return info->tcpi_bytes_received > 0 &&
	       empty >= (info->tcpi_data_segs_in ? 2 : 3);
}

/* Whether a close that was seen tells how it ended. If a FIN is in the queue that it did
 * not find there, another descriptor kept the socket open until the peer had closed. */
static bool tells(enum tws_ending at_close, const struct last_words *words)
{
	return at_close != TWS_END_NONE &&
	       !(at_close == TWS_END_LOCAL_FIN && words->unread);
}

/* Whether there may have been a TIME_WAIT. The kernel lets nobody take its place within a
 * second, but who chose the port. */
static bool may_have_left(const struct last_words *words, uint32_t flags)
{
	return words->late || (words->taken && flags & TWS_CONN_APP_BOUND);
}

/* Both sides have closed, or TCP_LINGER2 < 0 dropped the socket when ours was
 * acknowledged. A TIME_WAIT may be gone already: a reset takes it away, as where the peer
 * sends data after our close. Then it can look as if the peer had closed first. */
static enum tws_ending decide_closed(const struct last_words *words, uint32_t flags,
				     enum tws_ending decided)
{
	if (words->time_wait)
		return TWS_END_LOCAL_FIN;
	if (tells(decided, words))
		return decided;
	/* What is unread after a close is the peer's FIN. */
	if (flags & TWS_CONN_POLICY_LINGER2)
		return words->unread ? TWS_END_REMOTE_FIN : TWS_END_FIN_RESET;
	if (!may_have_closed_first(words))
		return TWS_END_LOCAL_FIN;
	return may_have_left(words, flags) ? TWS_END_UNSEEN : TWS_END_REMOTE_FIN;
}

static enum tws_ending decide_reset(const struct last_words *words,
				    enum tws_ending decided)
{
	if (decided == TWS_END_RESET_POLICY)
		return decided;
	if (words->info.tcpi_segs_out == 0)
		return TWS_END_RESET_APP;
	return words->unread ? TWS_END_RESET_UNREAD : TWS_END_RESET_REMOTE;
}

/* Whether the peer's FIN had come when the program closed; in CLOSE, which a reset leads
 * to as well, the kernel's answer to our own FIN shows it. */
static bool had_fin(const struct last_words *words, uint8_t state_at_close)
{
	return tcp_state_has_fin(state_at_close) ||
	       (state_at_close == STATE_CLOSE && words->fin_acked);
}

/* Whether the kernel has received the peer's FIN, which it counts as a byte. After our
 * own close nobody reads it, so it is in the queue; it may also come after these words.
 * A program that had shut down may have read it: that is known only of a close that was
 * seen. */
static bool counts_fin(const struct last_words *words, uint8_t state_at_close,
		       enum tws_ending ending)
{
	return ending == TWS_END_REMOTE_FIN || had_fin(words, state_at_close) ||
	       (words->unread &&
		(ending == TWS_END_LOCAL_FIN || ending == TWS_END_FIN_RESET ||
		 (ending == TWS_END_UNSEEN && words->fin_acked)));
}

/* After tcp_disconnect() there is only what a close showed that was seen. A FIN that was
 * not sent counts as a byte that was not. */
static void count_bytes(const struct last_words *words, struct publish_connection *ended)
{
	const struct tcp_info *info = &words->info;

	if (info->tcpi_segs_out == 0)
		return;
	ended->bytes_sent = tcp_state_bytes_sent(info);
	ended->bytes_received = info->tcpi_bytes_received;
	if (ended->bytes_received &&
	    counts_fin(words, ended->state_at_close, ended->ending))
		ended->bytes_received--;
}

void last_words_decide(const struct last_words *words,
		       const struct publish_connection *begun,
		       const struct attempt_limits *limits, enum tws_ending decided,
		       struct publish_connection *ret_ended)
{
	*ret_ended = *begun;
	ret_ended->ended_ns = words->read_ns;
	ret_ended->local = words->local;
	if (words->remote.port)
		ret_ended->remote = words->remote;
	if (!words->fin_acked && decided != TWS_END_RESET_POLICY &&
	    !was_established(words, begun->began_ns)) {
		decide_attempt(words, limits, ret_ended);
		return;
	}
	ret_ended->ending = words->fin_acked ? decide_closed(words, begun->flags, decided)
					     : decide_reset(words, decided);
	ret_ended->time_wait = ret_ended->ending == TWS_END_LOCAL_FIN;
	if (!ret_ended->established_ns)
		ret_ended->established_ns = begun->began_ns;
	count_bytes(words, ret_ended);
}
