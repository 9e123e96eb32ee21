/* SPDX-License-Identifier: MIT
 *
 * What an ending leaves in the segment: a record in the ring of ended connections, for
 * `trace`, and its cookie among those of sockets in TIME_WAIT. Part of conn_end.c.
 */
#ifndef TWS_SHIM_RECORDS_H
#define TWS_SHIM_RECORDS_H

#include "shim/conn/conn.h"
#include "shim/conn/facts.h"
#include "shim/shared/pair.h"

/* The place of a ticket's record in a ring of `count` (not 0) elements. Rings usually
 * have 2^n elements, which avoids a division, the slowest instruction. */
static inline uint32_t tws_record_place(uint64_t ticket, uint32_t count)
{
	return tws_unlikely(count & (count - 1)) ? (uint32_t)(ticket % count)
						 : (uint32_t)ticket & (count - 1);
}

/* Prefetches what the ending will write while the socket is being asked: it was last
 * touched thousands of connections ago. */
static inline void tws_records_expect(const struct tws_book *book)
{
	const struct tws_header *header = book->header;
	uint64_t ended = __atomic_load_n(&header->ended_tickets, __ATOMIC_RELAXED);
	uint64_t waits = __atomic_load_n(&header->time_wait_tickets, __ATOMIC_RELAXED);
	const char *record;

	/* If there is no ring, or its size is unusual, any address may be prefetched. */
	record = (const char *)&book->ended[(uint32_t)ended & (book->ended_count - 1)];
	__builtin_prefetch(record, 1);
	__builtin_prefetch(record + 64, 1);
	__builtin_prefetch(
	    &book->time_wait[(uint32_t)waits & (book->time_wait_count - 1)], 1);
}

/* The connection leaves TIME_WAIT here. */
static inline TWS_ALWAYS_INLINE void tws_record_time_wait(bool single,
							  const struct tws_conn *conn)
{
	struct tws_header *header = conn->book->header;
	uint32_t count = conn->book->time_wait_count;
	uint64_t ticket;
	uint32_t place;

	if (tws_unlikely(!count))
		return;
	ticket = tws_fetch_add(single, &header->time_wait_tickets, 1);
	place = tws_record_place(ticket, count);
	if (tws_book_ensure(conn->book, TWS_SECTION_TIME_WAIT, place))
		__atomic_store_n(&conn->book->time_wait[place],
				 TWS_TW_PACK(tws_socket_key(conn->slot),
					     (uint64_t)conn->slot->destination),
				 __ATOMIC_RELEASE);
}

static inline void tws_fill_ended(struct tws_ended *record,
				  const struct tws_connection *slot,
				  const struct tws_bytes *bytes, uint64_t now)
{
	record->cookie = slot->cookie;
	record->began_ns = slot->began_ns;
	record->established_ns = slot->established_ns;
	record->ended_ns = now;
	record->bytes_sent = bytes->sent;
	record->bytes_received = bytes->received;
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

/* Records that it ended at `now`, as the slot says. */
static inline TWS_ALWAYS_INLINE void tws_record_ended(bool single,
						      const struct tws_conn *conn,
						      const struct tws_bytes *bytes,
						      uint64_t now)
{
	struct tws_book *book = conn->book;
	uint32_t count = book->ended_count;
	struct tws_ended *record;
	uint64_t ticket, before;
	uint32_t place;

	if (!count)
		return;
	ticket = tws_fetch_add(single, &book->header->ended_tickets, 1);
	place = tws_record_place(ticket, count);
	if (!tws_book_ensure(book, TWS_SECTION_ENDED, place))
		return;
	record = &book->ended[place];
	/* A writer from the last time round has not finished this record: leave it to
	 * that writer. */
	before = __atomic_load_n(&record->sequence, __ATOMIC_RELAXED);
	if (tws_unlikely(!before && ticket >= count) ||
	    tws_unlikely(!tws_swap_u64(single, &record->sequence, before, 0)))
		return;
	tws_fill_ended(record, conn->slot, bytes, now);
	__atomic_store_n(&record->sequence, ticket + 1, __ATOMIC_RELEASE);
}

/* What is added to one set of counters when a connection ends. */
struct tws_ended_counts {
	enum tws_counter ending;
	enum tws_counter via; /* TWS_COUNTERS: none */
	uint64_t lifetime_ns;
	bool short_lived;
	struct tws_bytes bytes;
};

static inline TWS_ALWAYS_INLINE void tws_count_ended(bool single,
						     struct tws_counters *counters,
						     const struct tws_ended_counts *ended)
{
	tws_add_as(single, &counters->value[ended->ending], 1);
	if (tws_likely(ended->via != TWS_COUNTERS))
		tws_add_as(single, &counters->value[ended->via], 1);
	tws_histogram_add(single, counters, TWS_HISTOGRAM_lifetime_seconds,
			  ended->lifetime_ns);
	if (ended->short_lived)
		tws_add_as(single, &counters->value[TWS_short_lived], 1);
	if (tws_unlikely(ended->bytes.sent))
		tws_add_as(single, &counters->value[TWS_bytes_sent], ended->bytes.sent);
	if (tws_unlikely(ended->bytes.received))
		tws_add_as(single, &counters->value[TWS_bytes_received],
			   ended->bytes.received);
	tws_add_as(single, &counters->value[TWS_open], (uint64_t)-1);
}

#endif
