/* SPDX-License-Identifier: MIT
 *
 * Decides how a connection ended that its process could not record: the process was
 * killed or went through exit, or a child still had a descriptor. Pure: takes the slot in
 * the segment, the kernel's table and its destroy message, and returns the verdict. Also
 * keeps the identities of the counters, which hold in everything that is shown:
 *
 *   attempts    = established + failed_* + abandoned + connecting
 *   established = open + ended_*
 */
#ifndef TWS_TOOLS_JOIN_H
#define TWS_TOOLS_JOIN_H

#include "shim/shared/segment.h"
#include "shim/shared/pair.h"
#include "tools/kernel/kernel.h"

/* Where a socket is in the kernel's table, by its cookie. */
enum join_where {
	JOIN_UNKNOWN, /* there is no table, or it belongs to another network namespace */
	JOIN_GONE,    /* not in the table */
	JOIN_CONNECTING, /* a descriptor is still open, the SYN is not answered */
	JOIN_HELD, /* a descriptor is still open somewhere, and the connection lives */
	JOIN_CLOSED_HERE,  /* FIN_WAIT1, FIN_WAIT2 or CLOSING without a descriptor:
			      TIME_WAIT will follow */
	JOIN_CLOSED_THERE, /* LAST_ACK: the peer closed first */
	JOIN_TIME_WAIT,
};

/* The key of an ended connection's socket in kernel_table_find_key(). */
static inline uint64_t join_ended_key(const struct tws_ended *ended)
{
	return tws_is_found_by_pair(ended->flags, ended->cookie)
		   ? tws_pair(&ended->local, &ended->remote)
		   : ended->cookie;
}

/* `socket` NULL: the table does not have it. */
enum join_where join_where(const struct kernel_socket *socket);

struct join_facts {
	const struct tws_connection *slot;
	bool owner_gone; /* the process is dead, or has no descriptor of it any more */
	enum join_where where;
	const struct kernel_destroyed *last_words; /* NULL: nobody received any */
	bool fresh; /* the message is so recent that a TIME_WAIT socket would still exist
		     */
};

struct join_verdict {
	bool established; /* the connection was established, which the slot did not know
			     yet */
	bool ended;	  /* the connection has ended, and then: */
	enum tws_ending ending;
	enum tws_via via;	  /* if it was established */
	enum tws_counter failure; /* if `ending` is TWS_END_FAILED */
	enum tws_counter policy;  /* what fin-reset did; TWS_COUNTERS: nothing to count */
};

/* Fills in what the kernel says: its socket (NULL: not in the table, which was read at
 * `table_ns`) and its destroy message (NULL: none). */
void join_learn(struct join_facts *facts, const struct kernel_socket *socket,
		const struct kernel_destroyed *last_words, uint64_t table_ns);

/* For slots in state CONNECTING or OPEN. Adopted connections are not counted in this
 * process, so they get no verdict. */
struct join_verdict join_decide(const struct join_facts *facts);

/* Counts a verdict. */
void join_count(struct tws_counters *counters, const struct join_verdict *verdict);

/* How many connections of `established`, and of `attempts`, have no outcome in the
 * counters. Negative if the counters were read, or left by a kill, in the middle of an
 * update. */
int64_t join_open(const struct tws_counters *counters);
int64_t join_connecting(const struct tws_counters *counters);

/* For a slot that a dead process left in state ENDING. Counts its ending, unless the
 * counters show that this was done. `open` and `connecting` are the numbers of other
 * connections that the counters still hold. */
void join_count_ending(struct tws_counters *counters, const struct tws_connection *slot,
		       int64_t open, int64_t connecting);

/* For a dead process whose slots are settled. `open` and `connecting` connections are
 * still held by other processes. What the counters hold beyond these is counted as
 * unseen; what they lack is added, because the update was cut short. */
void join_reconcile(struct tws_counters *counters, int64_t open, int64_t connecting);

/* Derives the gauges `open` and `connecting` and makes the identities hold. */
void join_derive(struct tws_counters *counters);

/* Adds `one` to `sum`; of a maximum, the higher value stays. */
void join_add(struct tws_counters *sum, const struct tws_counters *one);

/* The number of connects that failed, for any reason. */
uint64_t join_failed(const struct tws_counters *counters);

/* The sum of all ended_*. */
uint64_t join_ended(const struct tws_counters *counters);

/* What every view calls these endings. Closed first: by this side, whether by FIN or as a
 * policy said; by policy: those of them that a policy ended without TIME_WAIT; reset: by
 * either side, but not by a policy. */
uint64_t join_closed_first(const struct tws_counters *counters);
uint64_t join_by_policy(const struct tws_counters *counters);
uint64_t join_resets(const struct tws_counters *counters);

#endif
