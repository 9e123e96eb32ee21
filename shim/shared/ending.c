/* SPDX-License-Identifier: MIT
 *
 * The table of endings. It follows __tcp_close() and tcp_poll() in net/ipv4/tcp.c:
 * unread data is checked before SO_LINGER, and SO_LINGER before the state.
 */
#include "shim/shared/ending.h"

#include <errno.h>
#include <netinet/tcp.h>

bool tws_ending_needs_info(const struct tws_facts *facts)
{
	/* Both directions are shut, and not by us: the connection is over. */
	if (facts->established && facts->hung_up && !(facts->flags & TWS_CONN_SHUT_WRITE))
		return false;
	/* If both directions are shut, the state may be CLOSING, LAST_ACK or CLOSE,
	 * where unread data and SO_LINGER {1,0} come too late. What looks like an
	 * error may be an entry in the error queue, such as a timestamp. */
	if (facts->hung_up || facts->error)
		return true;
	/* Our own shutdown(SHUT_RD) looks like the peer's close. */
	if (facts->peer_closed && facts->flags & TWS_CONN_SHUT_READ)
		return true;
	/* A socket whose SYN waits for the first write is writable too. */
	return !facts->established &&
	       (!facts->writable || facts->flags & TWS_CONN_FASTOPEN_CONNECT);
}

/* The state as far as poll() shows it, if TCP_INFO was not asked for. */
static uint8_t state_from_poll(const struct tws_facts *facts)
{
	if (facts->hung_up)
		return TCP_CLOSE;
	if (facts->peer_closed)
		return TCP_CLOSE_WAIT;
	return facts->flags & TWS_CONN_SHUT_WRITE ? TCP_FIN_WAIT2 : TCP_ESTABLISHED;
}

static struct tws_verdict verdict(enum tws_ending ending)
{
	return (struct tws_verdict){.ending = ending,
				    .failure = TWS_COUNTERS,
				    .time_wait = ending == TWS_END_LOCAL_FIN};
}

/* Nothing is left to close. The ending depends on our own shutdown and on what the
 * peer did. */
static struct tws_verdict decide_closed(const struct tws_facts *facts)
{
	struct tws_verdict ret = verdict(TWS_END_LOCAL_FIN);
	bool reset = facts->error || facts->socket_error;

	if (!(facts->flags & TWS_CONN_SHUT_WRITE) || reset)
		return verdict(TWS_END_RESET_REMOTE);
	if (facts->flags & TWS_CONN_PEER_FIRST)
		return verdict(TWS_END_REMOTE_FIN);
	ret.doubtful = true;
	return ret;
}

/* How the kernel answers this close() with RST; TWS_END_NONE: it does not. In
 * LAST_ACK, SO_LINGER {1,0} drops the socket, but sends RST only if something was not
 * sent. */
static enum tws_ending reset_by_close(const struct tws_facts *facts, uint8_t state)
{
	if (facts->unread)
		return TWS_END_RESET_UNREAD;
	if (state == TCP_LAST_ACK && !facts->unsent)
		return TWS_END_NONE;
	if (facts->flags & TWS_CONN_POLICY_RESET)
		return TWS_END_RESET_POLICY;
	return facts->flags & TWS_CONN_APP_LINGER_0 ? TWS_END_RESET_APP : TWS_END_NONE;
}

static struct tws_verdict decide_state(const struct tws_facts *facts, uint8_t state)
{
	enum tws_ending reset = reset_by_close(facts, state);

	if (state == TCP_CLOSE)
		return decide_closed(facts);
	if (reset != TWS_END_NONE)
		return verdict(reset);
	if (state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK)
		return verdict(TWS_END_REMOTE_FIN);
	if (state != TCP_CLOSING && (facts->flags & TWS_CONN_POLICY_LINGER2))
		return verdict(TWS_END_FIN_RESET);
	return verdict(TWS_END_LOCAL_FIN);
}

/* Whether no SYN was ever sent: TCP_FASTOPEN_CONNECT delays it until the first write,
 * and a thread may be cancelled at the entry of connect(). */
static bool never_sent(const struct tws_facts *facts, uint8_t state)
{
	return state == TCP_CLOSE && !facts->acknowledged && !facts->syn_sent &&
	       !facts->socket_error;
}

/* Decides for a connection whose connect() was never seen to succeed. */
static bool decide_unborn(const struct tws_facts *facts, uint8_t state,
			  struct tws_verdict *ret_verdict)
{
	if (facts->established)
		return false;
	if (state == TCP_SYN_SENT || state == TCP_SYN_RECV || never_sent(facts, state)) {
		*ret_verdict = verdict(TWS_END_ABANDONED);
		return true;
	}
	if (state != TCP_CLOSE || facts->acknowledged)
		return false;
	*ret_verdict = verdict(TWS_END_FAILED);
	ret_verdict->failure = tws_failure_counter(facts->socket_error);
	return true;
}

struct tws_verdict tws_ending_decide(const struct tws_facts *facts)
{
	uint8_t state = facts->has_info ? facts->tcp_state : state_from_poll(facts);
	struct tws_verdict ret;

	if (decide_unborn(facts, state, &ret))
		return ret;
	return decide_state(facts, state);
}

enum tws_ending tws_ending_held(uint8_t ending)
{
	return ending >= TWS_END_ABANDONED && ending <= TWS_END_FAILED
		   ? (enum tws_ending)ending
		   : TWS_END_UNSEEN;
}

enum tws_counter tws_failure_held(uint8_t failure)
{
	return failure >= TWS_failed_refused && failure <= TWS_failed_other
		   ? (enum tws_counter)failure
		   : TWS_failed_other;
}

enum tws_counter tws_ending_fin_reset_outcome(enum tws_ending ending, uint32_t flags)
{
	if (!(flags & TWS_CONN_POLICY_LINGER2))
		return TWS_COUNTERS;
	switch (ending) {
	case TWS_END_FIN_RESET:
		return flags & TWS_CONN_POLICY_COUNTED ? TWS_COUNTERS
						       : TWS_policy_applied;
	case TWS_END_LOCAL_FIN:
		return flags & TWS_CONN_APP_LINGER_N && !(flags & TWS_CONN_SHUT_WRITE)
			   ? TWS_policy_skipped_app_option
			   : TWS_policy_too_late;
	case TWS_END_RESET_APP:
		return TWS_policy_skipped_app_option;
	default:
		return TWS_COUNTERS;
	}
}

enum tws_counter tws_ending_reset_outcome(enum tws_ending ending, uint32_t flags)
{
	if (!(flags & TWS_CONN_POLICY_RESET))
		return TWS_COUNTERS;
	if (ending == TWS_END_LOCAL_FIN)
		return TWS_policy_too_late;
	return ending == TWS_END_RESET_POLICY && !(flags & TWS_CONN_POLICY_COUNTED)
		   ? TWS_policy_applied
		   : TWS_COUNTERS;
}

enum tws_counter tws_failure_counter(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return TWS_failed_refused;
	case ETIMEDOUT:
		return TWS_failed_timed_out;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case EHOSTDOWN:
		return TWS_failed_unreachable;
	case EADDRNOTAVAIL:
		return TWS_failed_no_port;
	case EADDRINUSE:
		return TWS_failed_address_in_use;
	default:
		return TWS_failed_other;
	}
}
