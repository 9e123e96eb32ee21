/* SPDX-License-Identifier: MIT
 *
 * What a rule wants when a connection closes. It stands in private memory: what is in a
 * segment any process of the same user may have changed, and nobody shall make a client
 * reset its connections by that. One plan a slot, found by the slot's number, made or
 * taken away at each connect(), and held to the socket it was made for.
 */
#ifndef TWS_SHIM_PLAN_H
#define TWS_SHIM_PLAN_H

#include "shim/conn/conn.h"

struct tws_plan {
	uint64_t cookie; /* atomic; of the socket; 0: no plan */
	uint32_t close;	 /* enum tws_close_mode and flags, see apply_option.h */
	uint32_t drain_ms;
};

/* Of TWS_MAX_CONNECTIONS; NULL until a rule has asked for something: whoever runs for
 * each connection looks at this first. */
TWS_OURS extern struct tws_plan *tws_plans; /* atomic */

/* The plan of a connection, of a forked child's parent too; NULL: none. */
const struct tws_plan *tws_plan_of(const struct tws_conn *conn);

void tws_plan_set(const struct tws_conn *conn, uint32_t close, uint32_t drain_ms);

/* A connection begins: what stood in its slot's place is over. */
void tws_plan_clear(const struct tws_conn *conn);

#endif
