/* SPDX-License-Identifier: MIT
 *
 * The end of a connection that another process may hold, or that was to be looked at
 * again: settled with the kernel once our descriptor is gone.
 */
#include <netinet/tcp.h>

#include "shim/shared/clock.h"
#include "shim/conn/conn.h"
#include "shim/conn/conn_move.h"
#include "shim/conn/diag.h"

/* States in which somebody may still have a descriptor: after our own shutdown FIN_WAIT
 * is one of them. */
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

/* What the kernel says now stands against what the socket said when we looked. */
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
	if (tws_ending_came_to_be(&end->verdict))
		tws_conn_establish(&end->conn, tws_conn_tally(&end->conn), tws_now());
	slot->ending = (uint8_t)end->verdict.ending;
	slot->via = (uint8_t)end->via;
	slot->local = end->local;
	__atomic_fetch_or(&slot->flags, TWS_CONN_LEFT | TWS_CONN_SHARED,
			  __ATOMIC_RELEASE);
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
