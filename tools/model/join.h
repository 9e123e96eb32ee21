/* SPDX-License-Identifier: MIT
 *
 * What became of a connection whose process could not say: killed, gone through exit, or
 * with descriptors left in a child. Pure: the slot in the segment, the kernel's answer
 * and the socket's last words in; the verdict out. And the identities of the counters,
 * which hold in everything that is shown:
 *
 *   attempts    = established + failed_* + abandoned + connecting
 *   established = open + ended_*
 */
#ifndef TWS_TOOLS_JOIN_H
#define TWS_TOOLS_JOIN_H

#include "shim/shared/segment.h"
#include "tools/kernel/kernel.h"

/* Where a socket is, by its cookie in the kernel's table. */
enum join_where {
	JOIN_UNKNOWN,	   /* no table, or it is of another network namespace */
	JOIN_GONE,	   /* not in the table */
	JOIN_CONNECTING,   /* a descriptor is left, the SYN is not answered */
	JOIN_HELD,	   /* a descriptor is left somewhere, and the connection lives */
	JOIN_CLOSED_HERE,  /* FIN_WAIT1, FIN_WAIT2, CLOSING: TIME_WAIT is to come */
	JOIN_CLOSED_THERE, /* LAST_ACK: the peer closed first */
	JOIN_TIME_WAIT,
};

/* `socket` NULL: not in the table. */
enum join_where join_where(const struct kernel_socket *socket);

struct join_facts {
	const struct tws_connection *slot;
	bool owner_gone; /* its process is dead, or its descriptors there are gone */
	enum join_where where;
	const struct kernel_destroyed *last_words; /* NULL: nobody heard them */
	bool fresh; /* they are so young that a TIME_WAIT would still stand */
};

struct join_verdict {
	bool established; /* it came to be, and the slot did not know yet */
	bool ended;	  /* and so: */
	enum tws_ending ending;
	enum tws_via via;	  /* of those that came to be */
	enum tws_counter failure; /* with TWS_END_FAILED */
};

/* For slots that are CONNECTING or OPEN. Adopted ones are nobody's here: no verdict. */
struct join_verdict join_decide(const struct join_facts *facts);

/* Counts a verdict. */
void join_count(struct tws_counters *counters, const struct join_verdict *verdict);

/* What of `established` and of `attempts` is not accounted for. Negative: the counters
 * were read or left amid an update. */
int64_t join_open(const struct tws_counters *counters);
int64_t join_connecting(const struct tws_counters *counters);

/* For a slot that a dead process left in state ENDING: counts it, unless the counters
 * show that it is counted. `open` and `connecting`: how many others the counters hold. */
void join_count_ending(struct tws_counters *counters, const struct tws_connection *slot,
		       int64_t open, int64_t connecting);

/* For a dead process, when its slots are settled: `open` and `connecting` are still held
 * by others; what the counters hold beyond went unseen, what they lack was cut short. */
void join_reconcile(struct tws_counters *counters, int64_t open, int64_t connecting);

/* Derives the gauges `open` and `connecting` and makes the identities hold. */
void join_derive(struct tws_counters *counters);

/* sum += one; of maxima, the higher one stays. */
void join_add(struct tws_counters *sum, const struct tws_counters *one);

/* Connections that were never established, failed for any reason. */
uint64_t join_failed(const struct tws_counters *counters);

/* All ended_*. */
uint64_t join_ended(const struct tws_counters *counters);

#endif
