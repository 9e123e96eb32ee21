/* SPDX-License-Identifier: MIT
 *
 * Cures that several rules give: for TIME_WAIT, depending on what a policy can do for
 * these connections, and for ports that sockets in other states hold.
 */
#ifndef TWS_TOOLS_ADVICE_CURE_H
#define TWS_TOOLS_ADVICE_CURE_H

#include "tools/advice/rule.h"

struct traffic_pair;

/* Says how to leave fewer TIME_WAIT sockets to the destination. It advises
 * close=fin-reset only where that helps and is not in force yet, and otherwise says why
 * not and what does help. `remark` follows the rule. */
void advice_cure_time_wait(char *text, size_t size, const struct advice_facts *facts,
			   const char *remark);

/* States other than TIME_WAIT that keep a port, most common first. */
struct advice_held {
	int state;
	const char *name; /* "in FIN_WAIT_2" */
	const char *cure; /* a printf format with the destination, twice at most */
};

extern const struct advice_held advice_held[];
extern const unsigned advice_held_count;

/* Says what frees the ports of a pair that are not in TIME_WAIT: the cure for the state
 * that most of them are in. NULL: open connections. */
void advice_cure_held(char *text, size_t size, const struct advice_facts *facts,
		      const struct traffic_pair *pair);

/* Whether at least half of the connections of the last minute, and of those that are
 * open, are among `count`. */
bool advice_is_most(const struct advice_facts *facts, uint64_t count);

/* Connections bound by a port_ring to ports that connect() may choose, and so withheld
 * from others. */
uint64_t advice_rings_inside(const struct model_recent *recent);

/* Estimates how many of the connections that this side closed first a close policy cannot
 * help, because the program called shutdown() first and the peer's FIN arrived before
 * close(). */
uint64_t advice_beyond_help(const struct advice_facts *facts);

/* Whether the program chooses the source ports itself. If one is in use, the program's
 * own earlier socket between the same addresses and ports holds it, and no other program.
 */
bool advice_has_fixed_port(const struct advice_facts *facts);

/* Whether fin-reset acts on connections to the destination already. */
bool advice_has_fin_reset(const struct advice_facts *facts);

#endif
