/* SPDX-License-Identifier: MIT
 *
 * How a connection ends when its last descriptor goes now, and whether TIME_WAIT stays
 * here. Pure: facts in, verdict out. The table behind it was measured on Linux 6.18 and
 * follows RFC 9293 section 3.6; the kernel's words are those of tcp(7).
 */
#ifndef TWS_SHIM_ENDING_H
#define TWS_SHIM_ENDING_H

#include "shim/shared/segment.h"

/* What poll(fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP, 0) and, where that leaves doubt,
 * TCP_INFO said. */
struct tws_facts {
	uint32_t flags;	  /* enum tws_conn_flag: what the program and the policy did */
	bool established; /* the connection is known to have come to be */
	bool writable;	  /* POLLOUT */
	bool readable;	  /* POLLIN */
	bool urgent;	  /* POLLPRI: an urgent byte that nobody has read */
	bool peer_closed; /* POLLRDHUP: the peer's FIN (or RST) is here */
	bool hung_up;	  /* POLLHUP: both directions are shut */
	bool error;	  /* POLLERR: an error waits; once SO_ERROR was asked, its word */
	bool has_info;	  /* tcp_state, acknowledged below are known */
	uint8_t tcp_state; /* tcpi_state: TCP_ESTABLISHED (1) to TCP_CLOSING (11) */
	bool acknowledged; /* tcpi_bytes_acked > 0: the SYN was answered */
	bool syn_sent;	   /* tcpi_segs_out > 0 */
	bool unsent;	   /* tcpi_notsent_bytes > 0: bytes, or our FIN, never left */
	uint32_t unread;   /* SIOCINQ, where asked; else 1 if known unread, 0 if not */
	int socket_error;  /* SO_ERROR, where asked or seen */
};

/* Four bytes: it is handed on in a register. */
struct tws_verdict {
	enum tws_ending ending : 8;
	enum tws_counter failure : 8; /* failed_*, when ending is TWS_END_FAILED */
	bool time_wait : 1;	      /* stays here */
	bool doubtful : 1; /* CLOSE after our own shutdown: TIME_WAIT unless the peer
			      reset */
};

TWS_ASSERT(sizeof(struct tws_verdict) == 4);

/* Whether TCP_INFO is needed to decide: poll left doubt. */
bool tws_ending_needs_info(const struct tws_facts *facts);

/* The usual end: a connection known to have come to be, to which one can write, says
 * poll(), and nothing else. These flags apart tws_ending_decide() then has only one
 * answer. */
#define TWS_ENDING_UNUSUAL                                                               \
	(TWS_CONN_APP_LINGER_0 | TWS_CONN_POLICY_RESET | TWS_CONN_POLICY_LINGER2)

static inline struct tws_verdict tws_ending_usual(void)
{
	return (struct tws_verdict){
	    .ending = TWS_END_LOCAL_FIN, .failure = TWS_COUNTERS, .time_wait = true};
}

/* The verdict. With doubtful facts it is the likelier one, and says so. */
struct tws_verdict tws_ending_decide(const struct tws_facts *facts);

static inline bool tws_ending_came_to_be(const struct tws_verdict *verdict)
{
	return verdict->ending != TWS_END_ABANDONED && verdict->ending != TWS_END_FAILED;
}

/* How an established connection ended whose process was killed, if nobody heard the
 * kernel's destroy message: what the options on its socket made certain, else unseen. */
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

/* An ending and a failure as they stand in shared memory, where anybody of our user may
 * have written: held to what can be, else unseen, else failed_other. */
enum tws_ending tws_ending_held(uint8_t ending);
enum tws_counter tws_failure_held(uint8_t failure);

/* What became of a policy that set TCP_LINGER2 = -1 on a connection that ended so:
 * policy_applied (no TIME_WAIT thanks to it), policy_too_late (TIME_WAIT all the same),
 * policy_skipped_app_option (the program's own SO_LINGER {1,0} won), or TWS_COUNTERS: the
 * connection would have left no TIME_WAIT anyway, or it was counted before. `flags`: enum
 * tws_conn_flag. */
enum tws_counter tws_ending_fin_reset_outcome(enum tws_ending ending, uint32_t flags);

/* The counter failed_* of an errno of connect(). */
enum tws_counter tws_failure_counter(int error);

#endif
