/* SPDX-License-Identifier: MIT
 *
 * How a connection ends if its last descriptor is closed now, and whether TIME_WAIT
 * stays here. Pure: facts in, verdict out. The table behind it was measured on Linux
 * 6.18 and follows RFC 9293, section 3.6; states and options are named as in tcp(7).
 */
#ifndef TWS_SHIM_ENDING_H
#define TWS_SHIM_ENDING_H

#include "shim/shared/segment.h"

/* The results of poll(fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP, 0) and, if that
 * leaves doubt, of TCP_INFO. */
struct tws_facts {
	uint32_t flags;	  /* enum tws_conn_flag: what the program and the policy did */
	bool established; /* the connection is known to have been established */
	bool writable;	  /* POLLOUT */
	bool readable;	  /* POLLIN */
	bool urgent;	  /* POLLPRI: an urgent byte that nobody has read */
	bool peer_closed; /* POLLRDHUP: the peer's FIN (or RST) is here */
	bool hung_up;	  /* POLLHUP: both directions are shut */
	bool error;    /* POLLERR: an error is pending; after SO_ERROR was asked, what it
			  said */
	bool has_info; /* tcp_state, acknowledged below are known */
	uint8_t tcp_state; /* tcpi_state: TCP_ESTABLISHED (1) to TCP_CLOSING (11) */
	bool acknowledged; /* tcpi_bytes_acked > 0: the SYN was answered */
	bool syn_sent;	   /* tcpi_segs_out > 0 */
	bool unsent;	   /* tcpi_notsent_bytes > 0: bytes, or our FIN, never left */
	uint32_t unread;   /* SIOCINQ, where asked; else 1 if known unread, 0 if not */
	int socket_error;  /* SO_ERROR, where asked or seen */
};

/* Four bytes, so that it is passed in a register. */
struct tws_verdict {
	enum tws_ending ending : 8;
	enum tws_counter failure : 8; /* failed_*, when ending is TWS_END_FAILED */
	bool time_wait : 1;	      /* TIME_WAIT stays here */
	bool doubtful : 1; /* CLOSE after our own shutdown: TIME_WAIT unless the peer
			      reset */
};

TWS_ASSERT(sizeof(struct tws_verdict) == 4);

/* Whether TCP_INFO is needed, because poll() left doubt. */
bool tws_ending_needs_info(const struct tws_facts *facts);

/* The usual end: the connection is known to be established, and poll() reports that it
 * is writable and nothing else. Without these flags, tws_ending_decide() then has only
 * one answer. */
#define TWS_ENDING_UNUSUAL                                                               \
	(TWS_CONN_APP_LINGER_0 | TWS_CONN_POLICY_RESET | TWS_CONN_POLICY_LINGER2)

static inline struct tws_verdict tws_ending_usual(void)
{
	return (struct tws_verdict){
	    .ending = TWS_END_LOCAL_FIN, .failure = TWS_COUNTERS, .time_wait = true};
}

/* Decides how the connection ends. If the facts leave doubt, the answer is the
 * likelier one, with `doubtful` set. */
struct tws_verdict tws_ending_decide(const struct tws_facts *facts);

static inline bool tws_ending_was_established(const struct tws_verdict *verdict)
{
	return verdict->ending != TWS_END_ABANDONED && verdict->ending != TWS_END_FAILED;
}

/* How an established connection of a killed process ended, if nobody heard the kernel's
 * destroy message: as the options of its socket make certain, or else unseen. */
static inline enum tws_ending tws_ending_unheard(uint32_t flags)
{
	if (flags & TWS_CONN_POLICY_RESET)
		return TWS_END_RESET_POLICY;
	if (flags & TWS_CONN_APP_LINGER_0)
		return TWS_END_RESET_APP;
	/* After a shutdown it would have gone through TIME_WAIT all the same. */
	return flags & TWS_CONN_POLICY_LINGER2 && !(flags & TWS_CONN_SHUT_WRITE)
		   ? TWS_END_FIN_RESET
		   : TWS_END_UNSEEN;
}

/* Checks an ending or a failure from shared memory, where any process of our user may
 * have written. An impossible value becomes TWS_END_UNSEEN or failed_other. */
enum tws_ending tws_ending_held(uint8_t ending);
enum tws_counter tws_failure_held(uint8_t failure);

/* What a policy achieved that set TCP_LINGER2 = -1 on a connection with this ending:
 * policy_applied (it prevented TIME_WAIT), policy_too_late (there is TIME_WAIT all the
 * same), policy_skipped_app_option (the program's own SO_LINGER won), or
 * TWS_COUNTERS (there would have been no TIME_WAIT anyway, or it was counted before).
 * `flags`: enum tws_conn_flag. */
enum tws_counter tws_ending_fin_reset_outcome(enum tws_ending ending, uint32_t flags);

/* The same of a policy that set SO_LINGER {1,0} at close(): policy_applied,
 * policy_too_late or TWS_COUNTERS. */
enum tws_counter tws_ending_reset_outcome(enum tws_ending ending, uint32_t flags);

/* The counter failed_* for an errno of connect(). */
enum tws_counter tws_failure_counter(int error);

#endif
