/* SPDX-License-Identifier: MIT
 *
 * Settles connections whose process is dead, and those that only a child still holds:
 * applies the verdicts of join.c, each once, to our copy of the segment's counters.
 */
#include <stdlib.h>

#include "tools/model/join.h"
#include "tools/model/model.h"

/* Connections of a destination that other processes still hold. */
struct held {
	int64_t open;
	int64_t connecting;
};

struct settling {
	struct model *model;
	struct segment *segment;
	bool dead;
	bool same_kernel; /* the table covers this process's network namespace */
	struct held *held;
};

/* If the process cannot be seen from here, a segment that went through exit counts as
 * dead. An observed process leaves nothing to settle while its observer lives, because
 * the observer sees how each connection ends; afterwards nobody does. */
static bool counts_as_dead(const struct segment *segment)
{
	if (segment->header.observer != TWS_OBSERVER_SHIM)
		return !segment->is_observed;
	return segment->life == PROCESS_DEAD ||
	       (segment->life == PROCESS_UNKNOWN &&
		segment->header.state == TWS_SEGMENT_EXITED);
}

/* A live process can lose its descriptors: at exec, or by leaving them to a child. */
static bool owner_gone(const struct settling *settling, const struct tws_connection *slot)
{
	if (settling->dead || slot->flags & TWS_CONN_LEFT)
		return true;
	return settling->segment->header.state == TWS_SEGMENT_EXECED &&
	       slot->via == TWS_VIA_EXEC;
}

static const struct kernel_socket *find_socket(const struct settling *settling,
					       const struct tws_connection *slot)
{
	if (!settling->same_kernel)
		return NULL;
	return kernel_table_find_key(&settling->model->table, tws_socket_key(slot));
}

static struct join_facts gather(const struct settling *settling,
				const struct tws_connection *slot)
{
	const struct model *model = settling->model;
	const struct kernel_destroyed *words = NULL;
	struct join_facts facts = {.slot = slot,
				   .owner_gone = owner_gone(settling, slot)};

	if (model->options.listener)
		words = kernel_listener_find(model->options.listener, slot->cookie);
	join_learn(&facts, find_socket(settling, slot), words, model->table_ns);
	if (!settling->same_kernel)
		facts.where = JOIN_UNKNOWN;
	/* The connection is younger than the table, so nothing can be concluded from its
	 * absence. */
	if (facts.where == JOIN_GONE && slot->began_ns > model->table_ns &&
	    !settling->dead)
		facts.owner_gone = false;
	return facts;
}

/* Returns when the connection ended, CLOCK_MONOTONIC; 0: not known. */
static uint64_t end_time_ns(const struct settling *settling,
			    const struct join_facts *facts)
{
	const struct kernel_socket *socket = find_socket(settling, facts->slot);
	uint64_t left_ns;

	if (facts->last_words)
		return facts->last_words->received_ns;
	if (socket && facts->where == JOIN_TIME_WAIT) {
		left_ns = socket->expires_ms * 1000000ULL;
		return settling->model->table_ns + left_ns - MODEL_TIME_WAIT_NS;
	}
	return facts->slot->via ? settling->segment->header.heartbeat_ns : 0;
}

static void count_lifetime(struct tws_counters *counters, uint64_t lifetime_ns,
			   uint32_t short_lived_ms)
{
	const enum tws_histogram_id id = TWS_HISTOGRAM_lifetime_seconds;
	struct tws_histogram *histogram = &counters->histogram[id];

	histogram->count[tws_histogram_bucket(id, lifetime_ns / 1000)]++;
	histogram->sum += lifetime_ns / 1000;
	if (lifetime_ns / 1000000 < short_lived_ms)
		counters->value[TWS_short_lived]++;
}

static void count_bytes(struct tws_counters *counters,
			const struct kernel_destroyed *words, enum tws_ending ending)
{
	uint64_t not_payload = 1 + (uint64_t)words->fin_acked;

	if (words->has_info && words->bytes_acked >= not_payload)
		counters->value[TWS_bytes_sent] += words->bytes_acked - not_payload;
	not_payload = ending == TWS_END_REMOTE_FIN;
	if (words->has_info && words->bytes_received >= not_payload)
		counters->value[TWS_bytes_received] +=
		    words->bytes_received - not_payload;
}

static void count(const struct settling *settling, struct tws_counters *counters,
		  const struct join_facts *facts, const struct join_verdict *verdict)
{
	const struct tws_header *header = &settling->segment->header;
	const struct tws_connection *slot = facts->slot;
	uint64_t began = slot->established_ns ? slot->established_ns : slot->began_ns;
	uint64_t ended = end_time_ns(settling, facts);

	join_count(counters, verdict);
	if (!verdict->ended || verdict->ending == TWS_END_ABANDONED ||
	    verdict->ending == TWS_END_FAILED)
		return;
	if (ended && began && ended >= began)
		count_lifetime(counters, ended - began, header->short_lived_ms);
	if (facts->last_words && header->detail)
		count_bytes(counters, facts->last_words, verdict->ending);
}

static struct tws_counters *arm_counters(struct segment *segment,
					 const struct tws_connection *slot)
{
	if (!slot->arm || slot->arm > segment->used[TWS_SECTION_ARMS])
		return NULL;
	return &segment->arms[slot->arm - 1].counters;
}

static uint32_t destination_index(const struct segment *segment,
				  const struct tws_connection *slot)
{
	return slot->destination < segment->used[TWS_SECTION_DESTINATIONS]
		   ? slot->destination
		   : 0;
}

/* A kill struck before the ending was written: treat the slot as open. */
static bool is_unwritten(const struct tws_connection *slot)
{
	return slot->state == TWS_CONN_ENDING && !slot->ending;
}

static void settle_slot(struct settling *settling, const struct tws_connection *slot)
{
	struct segment *segment = settling->segment;
	uint32_t index = destination_index(segment, slot);
	struct tws_counters *arm = arm_counters(segment, slot);
	struct join_facts facts = gather(settling, slot);
	struct join_verdict verdict = join_decide(&facts);

	if (segment->header.observer != TWS_OBSERVER_SHIM)
		verdict.via = TWS_VIA_NONE;
	count(settling, &segment->destinations[index].counters, &facts, &verdict);
	if (arm)
		count(settling, arm, &facts, &verdict);
	if (verdict.ended || slot->flags & TWS_CONN_ADOPTED)
		return;
	if (slot->state == TWS_CONN_OPEN || verdict.established)
		settling->held[index].open++;
	else
		settling->held[index].connecting++;
}

/* Returns whether the process left the connection without an ending. */
static bool read_open_slot(const struct settling *settling, uint32_t index,
			   struct tws_connection *ret_slot)
{
	*ret_slot = settling->segment->connections[index];
	if (settling->dead && is_unwritten(ret_slot))
		ret_slot->state =
		    ret_slot->established_ns ? TWS_CONN_OPEN : TWS_CONN_CONNECTING;
	return ret_slot->state == TWS_CONN_OPEN || ret_slot->state == TWS_CONN_CONNECTING;
}

static void settle_open_slots(struct settling *settling)
{
	struct tws_connection slot;

	for (uint32_t i = 0; i < settling->segment->used[TWS_SECTION_CONNECTIONS]; i++)
		if (read_open_slot(settling, i, &slot))
			settle_slot(settling, &slot);
}

static void settle_ending_slots(struct settling *settling)
{
	struct segment *segment = settling->segment;
	const struct tws_connection *slot;
	struct tws_counters *arm;
	struct held *held;
	uint32_t index;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_CONNECTIONS]; i++) {
		slot = &segment->connections[i];
		if (slot->state != TWS_CONN_ENDING || is_unwritten(slot) ||
		    slot->flags & TWS_CONN_ADOPTED)
			continue;
		index = destination_index(segment, slot);
		held = &settling->held[index];
		join_count_ending(&segment->destinations[index].counters, slot,
				  held->open, held->connecting);
		arm = arm_counters(segment, slot);
		if (arm)
			join_count_ending(arm, slot, 0, 0);
	}
}

static struct settling begin(struct model *model, struct segment *segment)
{
	return (struct settling){
	    .model = model,
	    .segment = segment,
	    .dead = counts_as_dead(segment),
	    .same_kernel =
		model->has_table && segment->header.net_namespace == model->net_namespace,
	};
}

bool model_judge(struct model *model, struct segment *segment, uint32_t index,
		 struct join_verdict *ret_verdict)
{
	struct settling settling = begin(model, segment);
	struct tws_connection slot;
	struct join_facts facts;

	if (!read_open_slot(&settling, index, &slot) || slot.flags & TWS_CONN_ADOPTED)
		return false;
	facts = gather(&settling, &slot);
	*ret_verdict = join_decide(&facts);
	return true;
}

void model_settle(struct model *model, struct segment *segment)
{
	uint32_t destinations = segment->used[TWS_SECTION_DESTINATIONS];
	struct settling settling = begin(model, segment);

	settling.held = calloc(destinations ? destinations : 1, sizeof(struct held));
	if (!settling.held || !destinations)
		goto out;
	settle_open_slots(&settling);
	if (settling.dead && segment->header.state != TWS_SEGMENT_TOTALS) {
		settle_ending_slots(&settling);
		for (uint32_t i = 0; i < destinations; i++)
			join_reconcile(&segment->destinations[i].counters,
				       settling.held[i].open,
				       settling.held[i].connecting);
	}
out:
	free(settling.held);
}
