/* SPDX-License-Identifier: MIT
 *
 * What the way in (conn.c), the way out (conn_end.c) and the policy of a connection
 * share.
 */
#ifndef TWS_SHIM_CONN_MOVE_H
#define TWS_SHIM_CONN_MOVE_H

#include <stddef.h>

#include "shim/book/history.h"
#include "shim/conn/conn.h"
#include "shim/shared/breaker.h"

/* The uses of a slot's action[]. How to close is kept in private memory, see plan.h. */
enum tws_slot_action {
	TWS_ACTION_RING_PORT = 2, /* the port to give back, see port_ring.h */
	TWS_ACTION_SPAWNS =
	    3, /* the number of spawned children when the connection was made */
};

/* Moves the slot if it is still in state `from` of the same generation. `single`: see
 * shim/book/single.h, here and below. */
static inline bool tws_conn_move_as(bool single, const struct tws_conn *conn,
				    enum tws_conn_state from, enum tws_conn_state to)
{
	const uint64_t generation = (uint64_t)conn->generation << 32;

	return tws_swap_u64(single, (uint64_t *)(void *)&conn->slot->state,
			    generation | from, generation | to);
}

static inline bool tws_conn_move(const struct tws_conn *conn, enum tws_conn_state from,
				 enum tws_conn_state to)
{
	return tws_conn_move_as(tws_is_single(), conn, from, to);
}

/* True: its attempt was counted under `other`, and the caller decides where it stays. */
static inline bool tws_conn_take_unnamed(const struct tws_conn *conn)
{
	return tws_clear_bit(tws_is_single(), &conn->slot->flags, TWS_CONN_UNNAMED);
}

/* The next attempt of a CLAIMED slot finds its destination anew. */
static inline void tws_conn_unname(struct tws_connection *slot)
{
	slot->destination = slot->arm = 0;
	__atomic_fetch_or(&slot->flags, TWS_CONN_UNNAMED, __ATOMIC_RELEASE);
}

/* Whether the slot is in that state, with the same generation. */
static inline bool tws_conn_is(const struct tws_conn *conn, enum tws_conn_state state)
{
	return __atomic_load_n((uint64_t *)(void *)&conn->slot->state,
			       __ATOMIC_ACQUIRE) ==
	       ((uint64_t)conn->generation << 32 | state);
}

/* ENDING or CLAIMED -> FREE. */
TWS_OURS void tws_conn_free(const struct tws_conn *conn);

/* Whether the slot is in a book that this process made. */
static inline bool tws_conn_owned(const struct tws_conn *conn)
{
	return tws_book_is_ours(conn->book);
}

/* The counters of its destination and of its arm (NULL: none). Others may have changed
 * the numbers in a slot, so they are read once and checked against what is backed by
 * memory. */
static inline struct tws_destination *tws_conn_entry(const struct tws_conn *conn)
{
	uint16_t at = __atomic_load_n(&conn->slot->destination, __ATOMIC_RELAXED);

	if (tws_unlikely(at >= tws_book_ready(conn->book, TWS_SECTION_DESTINATIONS)))
		at = 0;
	return &conn->book->destinations[at];
}

static inline struct tws_counters *tws_conn_destination(const struct tws_conn *conn)
{
	return &tws_conn_entry(conn)->counters;
}

/* Something is about to be counted for the connection. */
static inline void tws_conn_note(const struct tws_conn *conn, uint64_t now)
{
	tws_history_note(conn->book, tws_conn_entry(conn), now);
}

static inline struct tws_counters *tws_conn_arm(const struct tws_conn *conn)
{
	unsigned arm = __atomic_load_n(&conn->slot->arm, __ATOMIC_RELAXED);

	return tws_unlikely(arm) && arm <= tws_book_ready(conn->book, TWS_SECTION_ARMS)
		   ? &conn->book->arms[arm - 1].counters
		   : NULL;
}

static inline struct tws_tally tws_conn_tally(const struct tws_conn *conn)
{
	return (struct tws_tally){tws_conn_destination(conn), tws_conn_arm(conn)};
}

static inline void tws_tally_add(struct tws_tally tally, enum tws_counter counter,
				 uint64_t amount)
{
	tws_add(&tally.destination->value[counter], amount);
	if (tws_unlikely(tally.arm))
		tws_add(&tally.arm->value[counter], amount);
}

static inline void tws_tally_time(struct tws_tally tally, enum tws_histogram_id id,
				  uint64_t nanoseconds)
{
	tws_histogram_add(tws_is_single(), tally.destination, id, nanoseconds);
	if (tws_unlikely(tally.arm))
		tws_histogram_add(tws_is_single(), tally.arm, id, nanoseconds);
}

static inline void tws_conn_count(const struct tws_conn *conn, enum tws_counter counter,
				  uint64_t amount)
{
	tws_tally_add(tws_conn_tally(conn), counter, amount);
}

static inline void tws_count_open(bool single, struct tws_counters *counters)
{
	tws_raise(&counters->value[TWS_peak_open],
		  tws_fetch_add(single, &counters->value[TWS_open], 1) + 1);
}

/* The same for all counters of the connection, if other connections were left to other
 * processes: those that have ended since must not raise the peak. */
TWS_COLD void tws_conn_count_open_beside_left(const struct tws_conn *conn,
					      struct tws_tally tally);

/* Counts it as established, after the slot was moved. */
static inline TWS_ALWAYS_INLINE void
tws_conn_count_established(bool single, const struct tws_conn *conn,
			   struct tws_tally tally)
{
	tws_add_as(single, &tally.destination->value[TWS_established], 1);
	if (tws_unlikely(tally.arm))
		tws_add_as(single, &tally.arm->value[TWS_established], 1);
	if (tws_unlikely(__atomic_load_n(&conn->book->sweep_ns, __ATOMIC_RELAXED) != 0)) {
		tws_conn_count_open_beside_left(conn, tally);
		return;
	}
	tws_count_open(single, tally.destination);
	tws_count_open(single, conn->book->process);
	if (tws_unlikely(tally.arm))
		tws_count_open(single, tally.arm);
}

/* CONNECTING -> OPEN at `now`. False: somebody else moved it. */
static inline TWS_ALWAYS_INLINE bool tws_conn_establish_as(bool single,
							   const struct tws_conn *conn,
							   struct tws_tally tally,
							   uint64_t now)
{
	conn->slot->established_ns = now;
	if (tws_unlikely(
		!tws_conn_move_as(single, conn, TWS_CONN_CONNECTING, TWS_CONN_OPEN)))
		return false;
	tws_conn_count_established(single, conn, tally);
	return true;
}

TWS_COLD bool tws_conn_establish(const struct tws_conn *conn, struct tws_tally tally,
				 uint64_t now);

/* Whether the connection is short-lived if it ends at `now`. */
static inline bool tws_conn_is_short_lived(const struct tws_conn *conn, uint64_t now)
{
	return now - conn->slot->established_ns <
	       (uint64_t)conn->book->header->short_lived_ms * 1000000;
}

/* Takes back one open connection. */
static inline void tws_conn_count_gone(const struct tws_conn *conn,
				       struct tws_tally tally)
{
	tws_tally_add(tally, TWS_open, (uint64_t)-1);
	tws_add(&conn->book->process->value[TWS_open], (uint64_t)-1);
}

/* The number of its rule, or 0. */
static inline uint32_t tws_conn_rule(const struct tws_conn *conn)
{
	uint32_t rule = __atomic_load_n(&conn->slot->rule, __ATOMIC_RELAXED);

	return rule <= tws_book_ready(conn->book, TWS_SECTION_RULES) ? rule : 0;
}

/* Settles connections that were left to other processes. Those that the kernel no
 * longer knows are counted with the ending that was last seen. */
void tws_conn_sweep(struct tws_book *book);

/* Counts policy_applied for the connection and its rule, once. */
static inline void tws_conn_count_applied(const struct tws_conn *conn)
{
	uint32_t rule = tws_conn_rule(conn);

	if (__atomic_fetch_or(&conn->slot->flags, TWS_CONN_POLICY_COUNTED,
			      __ATOMIC_RELAXED) &
	    TWS_CONN_POLICY_COUNTED)
		return;
	tws_conn_count(conn, TWS_policy_applied, 1);
	if (rule)
		tws_add(&conn->book->rules[rule - 1].applied, 1);
}

/* Tells the rule of a connection what became of it. */
static inline void tws_conn_rule_failed(const struct tws_conn *conn)
{
	uint32_t rule = tws_conn_rule(conn);

	if (rule)
		tws_breaker_failed(&conn->book->rules[rule - 1], rule - 1);
}

static inline void tws_conn_rule_ended(const struct tws_conn *conn,
				       enum tws_ending ending)
{
	uint32_t rule = tws_conn_rule(conn);

	if (rule && ending == TWS_END_RESET_REMOTE)
		tws_breaker_peer_reset(&conn->book->rules[rule - 1], rule - 1);
}

#endif
