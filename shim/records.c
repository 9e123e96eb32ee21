/* SPDX-License-Identifier: MIT
 *
 * Tickets, and what stands at their places.
 */
#include "shim/records.h"

#include "shim/hot.h"

#define COOKIE_BITS 48

/* Where a ticket's record stands in a ring of `count`, not 0. The usual ones have 2^n: a
 * division is the slowest instruction there is. */
static uint32_t ring_place(uint64_t ticket, uint32_t count)
{
	return count & (count - 1) ? (uint32_t)(ticket % count)
				   : (uint32_t)ticket & (count - 1);
}

static uint32_t next_place(const struct tws_book *book, enum tws_section_id id,
			   const uint64_t *tickets)
{
	uint32_t count = book->section[id].count;

	return count ? ring_place(__atomic_load_n(tickets, __ATOMIC_RELAXED), count) : 0;
}

TWS_HOT void tws_records_expect(const struct tws_book *book)
{
	const struct tws_header *header = book->header;
	const struct tws_ended *ended =
	    &book->ended[next_place(book, TWS_SECTION_ENDED, &header->ended_tickets)];

	__builtin_prefetch(ended, 1);
	__builtin_prefetch((const char *)ended + 64, 1);
	__builtin_prefetch(&book->time_wait[next_place(book, TWS_SECTION_TIME_WAIT,
						       &header->time_wait_tickets)],
			   1);
}

TWS_HOT void tws_record_time_wait(const struct tws_conn *conn)
{
	struct tws_header *header = conn->book->header;
	uint32_t count = conn->book->section[TWS_SECTION_TIME_WAIT].count;
	uint64_t ticket;
	uint32_t place;

	if (conn->slot->cookie >> COOKIE_BITS || !count)
		return;
	ticket = __atomic_fetch_add(&header->time_wait_tickets, 1, __ATOMIC_RELAXED);
	place = ring_place(ticket, count);
	if (tws_book_reach(conn->book, TWS_SECTION_TIME_WAIT, place))
		__atomic_store_n(
		    &conn->book->time_wait[place],
		    TWS_TW_PACK(conn->slot->cookie, (uint64_t)conn->slot->destination),
		    __ATOMIC_RELEASE);
}

static void fill_ended(struct tws_ended *record, const struct tws_end *end, uint64_t now)
{
	const struct tws_connection *slot = end->conn.slot;

	record->cookie = slot->cookie;
	record->began_ns = slot->began_ns;
	record->established_ns = slot->established_ns;
	record->ended_ns = now;
	record->bytes_sent = end->bytes_sent;
	record->bytes_received = end->bytes_received;
	record->remote = slot->remote;
	record->local = slot->local;
	record->flags = slot->flags;
	record->destination = slot->destination;
	record->rule = slot->rule;
	record->arm = slot->arm;
	record->ending = slot->ending;
	record->via = slot->via;
	record->failure = slot->failure;
}

TWS_HOT void tws_record_ended(const struct tws_end *end, uint64_t now)
{
	struct tws_book *book = end->conn.book;
	uint32_t count = book->section[TWS_SECTION_ENDED].count;
	struct tws_ended *record;
	uint64_t ticket;
	uint32_t place;

	if (!count)
		return;
	ticket = __atomic_fetch_add(&book->header->ended_tickets, 1, __ATOMIC_RELAXED);
	place = ring_place(ticket, count);
	if (!tws_book_reach(book, TWS_SECTION_ENDED, place))
		return;
	record = &book->ended[place];
	/* A writer that stands since the last time round still has it: leave it to him.
	 */
	if (!__atomic_exchange_n(&record->sequence, 0, __ATOMIC_ACQ_REL) &&
	    ticket >= count)
		return;
	fill_ended(record, end, now);
	__atomic_store_n(&record->sequence, ticket + 1, __ATOMIC_RELEASE);
}
