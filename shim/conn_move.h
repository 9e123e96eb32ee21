/* SPDX-License-Identifier: MIT
 *
 * What the way in (conn.c), the way out (conn_end.c) and the policy of a connection
 * share, and nobody else needs.
 */
#ifndef TWS_SHIM_CONN_MOVE_H
#define TWS_SHIM_CONN_MOVE_H

#include <stddef.h>

#include "shim/conn.h"

/* What a slot's action[] holds. */
enum tws_slot_action {
	TWS_ACTION_CLOSE,     /* how to close, see apply.c */
	TWS_ACTION_DRAIN_MS,  /* of reset-drained */
	TWS_ACTION_RING_PORT, /* to give back, see ring.h */
	TWS_ACTION_SPAWNS,    /* children spawned before the connection was made */
};

/* Moves the slot if it is still in state `from` of the same generation. */
bool tws_conn_move(const struct tws_conn *conn, enum tws_conn_state from,
		   enum tws_conn_state to);

/* ENDING or CLAIMED -> FREE. */
void tws_conn_free(const struct tws_conn *conn);

/* Whether the slot stands in this process's own book. */
bool tws_conn_owned(const struct tws_conn *conn);

/* Counts for the destination and the arm of the connection. */
void tws_conn_count(const struct tws_conn *conn, enum tws_counter counter,
		    uint64_t amount);
void tws_conn_count_established(const struct tws_conn *conn);
void tws_conn_count_gone(const struct tws_conn *conn);

/* The counters of its destination, and of its arm (NULL: none). The numbers in a slot may
 * have been changed by others, so they are looked at once and held to the layout. */
static inline struct tws_counters *tws_conn_destination(const struct tws_conn *conn)
{
	uint16_t at = __atomic_load_n(&conn->slot->destination, __ATOMIC_RELAXED);

	return &conn->book
		    ->destinations
			[at < conn->book->section[TWS_SECTION_DESTINATIONS].count ? at
										  : 0]
		    .counters;
}

static inline struct tws_counters *tws_conn_arm(const struct tws_conn *conn)
{
	unsigned arm = __atomic_load_n(&conn->slot->arm, __ATOMIC_RELAXED);

	return arm && arm <= TWS_ARMS ? &conn->book->arms[arm - 1].counters : NULL;
}

/* The number of its rule, 0: none. */
static inline uint32_t tws_conn_rule(const struct tws_conn *conn)
{
	uint32_t rule = __atomic_load_n(&conn->slot->rule, __ATOMIC_RELAXED);

	return rule <= TWS_RULES ? rule : 0;
}

/* Settles connections that were left to other processes: those that the kernel knows no
 * more are counted as they were last seen. */
void tws_conn_sweep(struct tws_book *book);

/* Tells the rule of a connection what became of it (shim/policy.c). */
void tws_rule_failed(const struct tws_conn *conn);
void tws_rule_ended(const struct tws_conn *conn, enum tws_ending ending);

#endif
