/* SPDX-License-Identifier: MIT
 *
 * What a rule wants when a connection closes. Plans are in private memory: any process
 * of the same user may change what is in a segment, and must not be able to make a
 * client reset its connections. There is one plan per slot, found by the slot's number,
 * made or removed at each connect(), and valid only for the socket that it was made for.
 */
#ifndef TWS_SHIM_PLAN_H
#define TWS_SHIM_PLAN_H

#include "shim/conn/conn.h"

struct tws_plan {
	uint64_t cookie; /* atomic; of the socket; 0: no plan */
	uint32_t close;	 /* enum tws_close_mode and flags, see apply_option.h */
	uint32_t drain_ms;
};

/* The table, with TWS_MAX_CONNECTIONS places. It is NULL until a rule has asked for
 * something, so this is checked first for each connection. */
TWS_OURS extern struct tws_plan *tws_plans; /* atomic */

/* The plan of a connection, also of one that belongs to the parent that forked us.
 * NULL: it has none. */
const struct tws_plan *tws_plan_of(const struct tws_conn *conn);

void tws_plan_set(const struct tws_conn *conn, uint32_t close, uint32_t drain_ms);

/* A connection begins: removes the plan of the slot's former connection. */
void tws_plan_clear(const struct tws_conn *conn);

#endif
