/* SPDX-License-Identifier: MIT
 *
 * The end of a connection that another process may hold, or that needs a second look.
 * The kernel is asked once our descriptor has gone.
 */
#include <netinet/tcp.h>

#include "shim/shared/clock.h"
#include "shim/conn/conn.h"
#include "shim/conn/conn_move.h"
#include "shim/conn/diag.h"

#define SWEEP_PAUSE 20 /* times as long as the last look took */

/* States in which somebody may still hold a descriptor. After our own shutdown,
 * FIN_WAIT is one of them. */
static bool lives_on(int tcp_state, uint32_t flags)
{
	switch (tcp_state) {
	case TCP_ESTABLISHED:
	case TCP_SYN_SENT:
	case TCP_CLOSE_WAIT:
		return true;
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
		return flags & TWS_CONN_SHUT_WRITE;
	default:
		return tcp_state < 0;
	}
}

/* What the kernel says now takes precedence over what the socket said before. */
static void correct(struct tws_end *end, int tcp_state)
{
	if (tcp_state == TCP_TIME_WAIT)
		end->verdict.ending = TWS_END_LOCAL_FIN;
	end->verdict.time_wait = end->verdict.ending == TWS_END_LOCAL_FIN;
}

void tws_conn_leave(const struct tws_end *end)
{
	struct tws_connection *slot = end->conn.slot;

	if (!tws_conn_owned(&end->conn) && !(slot->flags & TWS_CONN_LEFT))
		return; /* the owner still has it */
	if (tws_ending_was_established(&end->verdict)) {
		tws_conn_note(&end->conn, tws_now());
		tws_conn_establish(&end->conn, tws_conn_tally(&end->conn), tws_now());
	}
	slot->ending = (uint8_t)end->verdict.ending;
	slot->via = (uint8_t)end->via;
	slot->local = end->local;
	__atomic_fetch_or(&slot->flags, TWS_CONN_LEFT | TWS_CONN_SHARED,
			  __ATOMIC_RELEASE);
	if (!__atomic_load_n(&end->conn.book->sweep_ns, __ATOMIC_RELAXED))
		__atomic_store_n(&end->conn.book->sweep_ns, 1, __ATOMIC_RELAXED);
}

void tws_conn_settle(struct tws_end *end)
{
	const struct tws_connection *slot = end->conn.slot;
	int state;

	state = tws_diag_state(&end->local, &slot->remote, slot->cookie);
	if (end->shared && lives_on(state, slot->flags)) {
		tws_conn_leave(end);
		return;
	}
	correct(end, state);
	tws_conn_end(end);
}

static void sweep_slot(struct tws_book *book, uint32_t index)
{
	struct tws_connection *slot = &book->connections[index];
	struct tws_end end = {.fd = -1, .via = (enum tws_via)slot->via};
	int state;

	if (tws_conn_state(slot) != TWS_CONN_OPEN || !(slot->flags & TWS_CONN_LEFT))
		return;
	end.conn = (struct tws_conn){book, slot, index, slot->generation};
	end.verdict.ending = tws_ending_held(slot->ending);
	end.verdict.failure = tws_failure_held(slot->failure);
	state = tws_diag_state(&slot->local, &slot->remote, slot->cookie);
	if (lives_on(state, slot->flags))
		return;
	correct(&end, state);
	tws_conn_end(&end);
}

void tws_conn_sweep(struct tws_book *book)
{
	uint32_t used = tws_book_used(book, TWS_SECTION_CONNECTIONS);

	for (uint32_t i = 0; i < used; i++)
		sweep_slot(book, i);
}

/* How many connections to a destination (-1: in all) are open and left to others. */
static uint64_t count_left(const struct tws_book *book, int destination)
{
	uint32_t used = tws_book_used(book, TWS_SECTION_CONNECTIONS);
	uint64_t left = 0;

	for (uint32_t i = 0; i < used; i++) {
		const struct tws_connection *slot = &book->connections[i];

		left += tws_conn_state(slot) == TWS_CONN_OPEN &&
			slot->flags & TWS_CONN_LEFT &&
			(destination < 0 || slot->destination == destination);
	}
	return left;
}

/* Looking takes a few system calls for each connection that was left, so the next look
 * has to wait; until then these do not raise a peak. */
static bool may_sweep(struct tws_book *book)
{
	uint64_t began = tws_now();

	if (began < __atomic_load_n(&book->sweep_ns, __ATOMIC_RELAXED))
		return false;
	tws_conn_sweep(book);
	__atomic_store_n(&book->sweep_ns, tws_now() + SWEEP_PAUSE * (tws_now() - began),
			 __ATOMIC_RELAXED);
	return true;
}

static void raise_peak(struct tws_counters *counters, uint64_t left)
{
	uint64_t open = __atomic_load_n(&counters->value[TWS_open], __ATOMIC_RELAXED);

	if (open > left)
		tws_raise(&counters->value[TWS_peak_open], open - left);
}

static bool exceeds_peak(const struct tws_counters *counters)
{
	return __atomic_load_n(&counters->value[TWS_open], __ATOMIC_RELAXED) >
	       __atomic_load_n(&counters->value[TWS_peak_open], __ATOMIC_RELAXED);
}

void tws_conn_count_open_beside_left(const struct tws_conn *conn, struct tws_tally tally)
{
	struct tws_book *book = conn->book;
	bool swept;

	tws_tally_add(tally, TWS_open, 1);
	tws_add(&book->process->value[TWS_open], 1);
	if (!exceeds_peak(tally.destination) && !exceeds_peak(book->process) &&
	    !(tally.arm && exceeds_peak(tally.arm)))
		return;
	swept = may_sweep(book);
	raise_peak(tally.destination,
		   swept ? 0 : count_left(book, conn->slot->destination));
	raise_peak(book->process, swept ? 0 : count_left(book, -1));
	if (tally.arm)
		raise_peak(tally.arm, swept ? 0 : count_left(book, -1));
}
