/* SPDX-License-Identifier: MIT
 *
 * Counts the events of a connection in its process's segment in the same way as the
 * shim: the same counters at the same steps, so that the identities of counters.def
 * hold. Readers look at any moment, so what they read last is written first.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "shim/shared/clock.h"
#include "tools/observe/publish_parts.h"
#include "shim/shared/layout.h"

#define COOKIE_BITS 48

/* ---------------------------------------------------------------------- counting */

static void add_to(uint64_t *value, uint64_t amount)
{
	__atomic_store_n(value, *value + amount, __ATOMIC_RELEASE);
}

static void raise_to(uint64_t *maximum, uint64_t value)
{
	if (*maximum < value)
		__atomic_store_n(maximum, value, __ATOMIC_RELEASE);
}

static void add_time(struct tws_counters *counters, enum tws_histogram_id id,
		     uint64_t nanoseconds)
{
	uint64_t microseconds = nanoseconds / 1000;

	add_to(&counters->histogram[id].count[tws_histogram_bucket(id, microseconds)], 1);
	add_to(&counters->histogram[id].sum, microseconds);
}

static struct tws_counters *process_counters(const struct published *published)
{
	return publish_file_at(&published->file, TWS_SECTION_PROCESS, 0);
}

static struct tws_counters *counters_of(const struct published *published,
					uint16_t destination)
{
	struct tws_destination *entry =
	    publish_file_at(&published->file, TWS_SECTION_DESTINATIONS, destination);

	return &entry->counters;
}

/* To be called before an event is counted. */
static void note(struct published *published, uint16_t destination, uint64_t now)
{
	publish_file_note(&published->file, destination, now);
}

static void count_open(struct tws_counters *counters)
{
	add_to(&counters->value[TWS_open], 1);
	raise_to(&counters->value[TWS_peak_open], counters->value[TWS_open]);
}

static void beat(struct published *published, uint64_t now)
{
	uint64_t *at = &published->file.header->heartbeat_ns;

	if (*at < now)
		__atomic_store_n(at, now, __ATOMIC_RELAXED);
}

void publish_count(const struct open_connection *open, enum tws_counter counter,
		   uint64_t amount)
{
	struct tws_counters *arm = publish_arm_counters(open);

	add_to(&counters_of(open->published, open->destination)->value[counter], amount);
	if (arm)
		add_to(&arm->value[counter], amount);
}

/* ----------------------------------------------------------- destinations, slots */

/* The most recent one is the most likely. Entry 0 is `other`. */
uint16_t publish_destination(struct published *published,
			     const struct tws_address *address)
{
	struct publish_file *file = &published->file;
	const enum tws_section_id id = TWS_SECTION_DESTINATIONS;
	uint32_t used = file->header->section[id].used;
	struct tws_destination *entry;

	for (uint32_t i = used; i-- > 1;) {
		entry = publish_file_at(file, id, i);
		if (memcmp(&entry->address, address, sizeof(*address)) == 0)
			return (uint16_t)i;
	}
	if (used >= UINT16_MAX || !publish_file_reach(file, id, used))
		return 0;
	entry = publish_file_at(file, id, used);
	entry->address = *address;
	__atomic_store_n(&entry->state, TWS_DESTINATION_READY, __ATOMIC_RELEASE);
	return (uint16_t)used;
}

static bool grow_slots(struct published *published)
{
	uint32_t room = published->slots_used;
	uint32_t *grown;

	if (room & (room - 1)) /* grows whenever the number reaches a power of two */
		return true;
	grown = reallocarray(published->free_slots, room ? room * 2 : 1, sizeof(*grown));
	if (!grown)
		return false;
	published->free_slots = grown;
	return true;
}

static uint32_t take_slot(struct published *published)
{
	uint32_t slot = published->slots_used;

	if (published->free_count)
		return published->free_slots[--published->free_count];
	if (!grow_slots(published) ||
	    !publish_file_reach(&published->file, TWS_SECTION_CONNECTIONS, slot))
		return OPEN_NO_SLOT;
	published->slots_used++;
	return slot;
}

static struct tws_connection *slot_of(const struct open_connection *open)
{
	return open->slot == OPEN_NO_SLOT
		   ? NULL
		   : publish_file_at(&open->published->file, TWS_SECTION_CONNECTIONS,
				     open->slot);
}

static void set_state(struct tws_connection *slot, enum tws_conn_state state)
{
	if (slot)
		__atomic_store_n(&slot->state, (uint32_t)state, __ATOMIC_RELEASE);
}

static void free_slot(const struct open_connection *open)
{
	struct published *published = open->published;

	if (open->slot == OPEN_NO_SLOT)
		return;
	set_state(slot_of(open), TWS_CONN_FREE);
	published->free_slots[published->free_count++] = open->slot;
}

/* ------------------------------------------------------------------------- steps */

static void fill_slot(struct tws_connection *slot, const struct open_connection *open,
		      const struct publish_connection *connection)
{
	uint32_t generation;

	if (!slot)
		return;
	generation = slot->generation + 1;
	set_state(slot, TWS_CONN_CLAIMED);
	memset(&slot->cookie, 0, sizeof(*slot) - offsetof(struct tws_connection, cookie));
	slot->generation = generation;
	slot->cookie = open->cookie;
	slot->began_ns = open->began_ns;
	slot->remote = connection->remote;
	slot->flags = open->flags;
	slot->fd = -1;
	slot->descriptors = 1;
	slot->destination = open->destination;
	slot->rule = open->rule;
	slot->arm = open->arm;
	set_state(slot, TWS_CONN_CONNECTING);
}

void publish_unobserved(struct published *published, uint64_t count)
{
	publish_file_note(&published->file, TWS_SLICE_PROCESS, tws_now());
	add_to(&process_counters(published)->value[TWS_unobserved], count);
}

static struct open_connection *begin(struct published *published,
				     const struct publish_connection *connection)
{
	struct publisher *publisher = published->publisher;
	struct open_connection *open =
	    open_table_add(&publisher->table, connection->cookie);

	if (!open) {
		publish_unobserved(published, 1);
		return NULL;
	}
	open->published = published;
	open->began_ns = connection->began_ns;
	open->flags = connection->flags;
	open->remote = connection->remote;
	open->destination = publish_destination(published, &connection->remote);
	open->slot = take_slot(published);
	if (connection->decision)
		publish_note_decision(open, connection->decision);
	note(published, open->destination, connection->began_ns);
	publish_count(open, TWS_attempts, 1);
	if (connection->flags & TWS_CONN_APP_BOUND_0 &&
	    !(connection->flags & TWS_CONN_LATE_BIND))
		publish_count(open, TWS_bound_before_connect, 1);
	fill_slot(slot_of(open), open, connection);
	if (connection->decision)
		publish_decide(open, connection->decision);
	if (connection->flags & TWS_CONN_LATE_BIND)
		publish_applied(open); /* at bind() */
	if (connection->descriptor)
		publish_hold(open, connection->descriptor);
	published->open++;
	publisher->counts.attempts++;
	beat(published, connection->began_ns);
	return open;
}

static void establish(struct open_connection *open,
		      const struct publish_connection *connection)
{
	struct published *published = open->published;
	struct tws_counters *counters = counters_of(published, open->destination);
	struct tws_connection *slot = slot_of(open);

	open->established_ns = connection->established_ns;
	open->local = connection->local;
	if (slot) {
		slot->established_ns = connection->established_ns;
		slot->local = connection->local;
		set_state(slot, TWS_CONN_OPEN);
	}
	note(published, open->destination, connection->established_ns);
	publish_count(open, TWS_established, 1);
	count_open(counters);
	count_open(process_counters(published));
	raise_to(&counters->value[TWS_peak_open], open->live_there);
	raise_to(&process_counters(published)->value[TWS_peak_open], open->live);
	if (!(connection->flags & TWS_CONN_NONBLOCKING) && !connection->rough)
		add_time(counters, TWS_HISTOGRAM_connect_latency_seconds,
			 connection->established_ns - open->began_ns);
	published->publisher->counts.established++;
	beat(published, connection->established_ns);
}

struct open_connection *publish_begun(struct published *published,
				      const struct publish_connection *connection)
{
	struct open_connection *open =
	    open_table_find(&published->publisher->table, connection->cookie);

	return open ? open : begin(published, connection);
}

void publish_established(struct published *published,
			 const struct publish_connection *connection)
{
	struct open_connection *open =
	    open_table_find(&published->publisher->table, connection->cookie);

	if (!open)
		open = begin(published, connection);
	if (open && !open->established_ns)
		establish(open, connection);
}

static void count_closed(struct open_connection *open, uint64_t closed_ns)
{
	struct published *published = open->published;

	open->closed_ns = closed_ns;
	add_to(&counters_of(published, open->destination)->value[TWS_open], (uint64_t)-1);
	add_to(&process_counters(published)->value[TWS_open], (uint64_t)-1);
}

void publish_closed(struct publisher *publisher, uint64_t cookie, uint64_t closed_ns)
{
	struct open_connection *open = open_table_find(&publisher->table, cookie);

	if (open && open->established_ns && !open->closed_ns)
		count_closed(open, closed_ns);
}

/* ------------------------------------------------------------------------ endings */

static void record_time_wait(struct published *published, uint64_t cookie,
			     uint16_t destination)
{
	struct publish_file *file = &published->file;
	uint64_t *tickets = &file->header->time_wait_tickets;
	uint32_t count = file->section[TWS_SECTION_TIME_WAIT].count;
	uint32_t place = (uint32_t)(*tickets % count);
	uint64_t *word;

	if (cookie >> COOKIE_BITS ||
	    !publish_file_reach(file, TWS_SECTION_TIME_WAIT, place))
		return;
	word = publish_file_at(file, TWS_SECTION_TIME_WAIT, place);
	__atomic_store_n(word, TWS_TW_PACK(cookie, (uint64_t)destination),
			 __ATOMIC_RELEASE);
	add_to(tickets, 1);
}

static void fill_ended(struct tws_ended *record, const struct open_connection *open,
		       const struct publish_connection *connection)
{
	*record = (struct tws_ended){
	    .cookie = connection->cookie,
	    .began_ns = open->began_ns,
	    .established_ns = open->established_ns,
	    .ended_ns = connection->ended_ns,
	    .bytes_sent = connection->bytes_sent,
	    .bytes_received = connection->bytes_received,
	    .remote = connection->remote,
	    .local = connection->local,
	    .flags = open->flags,
	    .destination = open->destination,
	    .rule = open->rule,
	    .arm = open->arm,
	    .ending = (uint8_t)connection->ending,
	    .failure =
		(uint8_t)(connection->ending == TWS_END_FAILED ? connection->failure : 0),
	};
}

static void record_ended(const struct open_connection *open,
			 const struct publish_connection *connection)
{
	struct publish_file *file = &open->published->file;
	uint64_t *tickets = &file->header->ended_tickets, ticket = *tickets;
	uint32_t place = (uint32_t)(ticket % file->section[TWS_SECTION_ENDED].count);
	struct tws_ended *record;

	add_to(tickets, 1);
	if (!publish_file_reach(file, TWS_SECTION_ENDED, place))
		return;
	record = publish_file_at(file, TWS_SECTION_ENDED, place);
	__atomic_store_n(&record->sequence, 0, __ATOMIC_SEQ_CST);
	fill_ended(record, open, connection);
	__atomic_store_n(&record->sequence, ticket + 1, __ATOMIC_RELEASE);
}

/* Counts the ending of an established connection. */
static void count_end(struct open_connection *open,
		      const struct publish_connection *connection)
{
	struct published *published = open->published;
	struct tws_counters *counters = counters_of(published, open->destination);
	uint64_t lifetime_ns;

	if (!open->closed_ns)
		count_closed(open, connection->closed_ns ? connection->closed_ns
							 : connection->ended_ns);
	lifetime_ns = open->closed_ns - open->established_ns;

	publish_count(open, tws_ending_counter(connection->ending), 1);
	add_time(counters, TWS_HISTOGRAM_lifetime_seconds, lifetime_ns);
	if (lifetime_ns < TWS_SHORT_LIVED_MS * 1000000ULL) {
		publish_count(open, TWS_short_lived, 1);
		open->flags |= TWS_CONN_SHORT_LIVED;
	}
	publish_count(open, TWS_bytes_sent, connection->bytes_sent);
	publish_count(open, TWS_bytes_received, connection->bytes_received);
	if (connection->time_wait)
		record_time_wait(published, connection->cookie, open->destination);
}

static bool came_to_nothing(const struct publish_connection *connection)
{
	return connection->ending == TWS_END_FAILED ||
	       connection->ending == TWS_END_ABANDONED;
}

void publish_end(struct open_connection *open,
		 const struct publish_connection *connection)
{
	struct published *published = open->published;
	struct publisher *publisher = published->publisher;
	struct tws_connection *slot = slot_of(open);

	open->flags |= connection->flags;
	publish_release(open);
	if (slot) {
		slot->flags = open->flags;
		slot->ending = (uint8_t)connection->ending;
		set_state(slot, TWS_CONN_ENDING);
	}
	note(published, open->destination, connection->ended_ns);
	if (!came_to_nothing(connection))
		count_end(open, connection);
	else if (connection->ending == TWS_END_FAILED)
		publish_count(open, connection->failure, 1);
	else
		publish_count(open, TWS_abandoned, 1);
	publish_policy_ended(open, connection->ending);
	record_ended(open, connection);
	beat(published, connection->ended_ns);
	free_slot(open);
	published->open--;
	publisher->counts.ended++;
	open_table_remove(&publisher->table, open);
}

void publish_ended(struct published *published,
		   const struct publish_connection *connection)
{
	struct open_connection *open =
	    open_table_find(&published->publisher->table, connection->cookie);

	if (!open)
		open = begin(published, connection);
	if (open && !open->established_ns && !came_to_nothing(connection))
		establish(open, connection);
	if (open)
		publish_end(open, connection);
}

void publish_adopted(struct published *published,
		     const struct publish_connection *connection)
{
	uint16_t destination = publish_destination(published, &connection->remote);

	note(published, destination, connection->ended_ns);
	add_to(&counters_of(published, destination)->value[TWS_adopted], 1);
	if (connection->time_wait)
		record_time_wait(published, connection->cookie, destination);
	beat(published, connection->ended_ns);
}
