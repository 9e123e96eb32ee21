/* SPDX-License-Identifier: MIT
 *
 * Adds one segment to the totals of its application. Connections that a dead process left
 * open are counted as ended, so that the identities of counters.def hold in the totals
 * too.
 */
#include <stddef.h>
#include <string.h>

#include "shim/shared/ending.h"
#include "shim/shared/fold_parts.h"
#include "shim/shared/match.h"
#include "shim/shared/pair.h"

static void fold_counters(struct tws_counters *to, const struct tws_counters *from)
{
	uint64_t peak = to->value[TWS_peak_open];

	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		to->value[i] += from->value[i];
	to->value[TWS_peak_open] =
	    peak > from->value[TWS_peak_open] ? peak : from->value[TWS_peak_open];
	for (unsigned h = 0; h < TWS_HISTOGRAMS; h++) {
		for (unsigned b = 0; b < TWS_BUCKETS; b++)
			to->histogram[h].count[b] += from->histogram[h].count[b];
		to->histogram[h].sum += from->histogram[h].sum;
	}
}

/* Returns the entry of an address in the totals; 0 (`other`) if they are full. */
static uint32_t find_total(struct tws_header *totals, const struct tws_address *address)
{
	struct tws_section *at = &totals->section[TWS_SECTION_DESTINATIONS];
	struct tws_destination *entry =
	    tws_fold_section(totals, TWS_SECTION_DESTINATIONS);

	for (uint32_t i = 1; i < at->used; i++)
		if (tws_same_address(&entry[i].address, address))
			return i;
	if (at->used >= at->count)
		return 0;
	entry[at->used].address = *address;
	entry[at->used].state = TWS_DESTINATION_READY;
	return at->used++;
}

void tws_fold_settle(const struct tws_header *header, const struct tws_connection *slot,
		     enum tws_ending *ret_ending, enum tws_via *ret_via)
{
	*ret_via = (enum tws_via)slot->via;
	*ret_ending = TWS_END_UNSEEN;
	if (slot->via || slot->state == TWS_CONN_ENDING)
		*ret_ending = (enum tws_ending)slot->ending;
	else if (slot->state == TWS_CONN_OPEN)
		*ret_ending = tws_ending_unheard(slot->flags);
	if (slot->via == TWS_VIA_NONE && slot->state != TWS_CONN_ENDING)
		*ret_via =
		    header->state == TWS_SEGMENT_EXITED ? TWS_VIA_EXIT : TWS_VIA_KILL;
	if (*ret_ending < TWS_END_ABANDONED || *ret_ending > TWS_END_FAILED)
		*ret_ending = TWS_END_UNSEEN;
}

static uint64_t sum(const struct tws_counters *counters, enum tws_counter first,
		    enum tws_counter last)
{
	uint64_t ret = 0;

	for (unsigned i = first; i <= last; i++)
		ret += counters->value[i];
	return ret;
}

/* Connections whose outcome these counters do not have yet. */
static uint64_t owed_open(const struct tws_counters *counters)
{
	return counters->value[TWS_established] -
	       sum(counters, TWS_ended_local_fin, TWS_ended_unseen);
}

static uint64_t owed_connecting(const struct tws_counters *counters)
{
	return counters->value[TWS_attempts] - counters->value[TWS_established] -
	       sum(counters, TWS_failed_refused, TWS_abandoned);
}

/* Counts an open connection of a dead process as ended, if the counters lack its outcome:
 * the process may have been killed between counting and freeing the slot. */
static void end_slot(const struct tws_header *header, const struct tws_connection *slot,
		     struct tws_counters *counters)
{
	enum tws_ending ending;
	enum tws_counter policy;
	enum tws_via via;
	bool open = owed_open(counters) > 0;

	tws_fold_settle(header, slot, &ending, &via);
	if (!open && !owed_connecting(counters))
		return;
	if (ending == TWS_END_ABANDONED || (!open && ending == TWS_END_UNSEEN)) {
		counters->value[TWS_abandoned]++;
		counters->value[TWS_established] -= open;
		return;
	}
	if (ending == TWS_END_FAILED) {
		counters->value[TWS_failed_other]++;
		counters->value[TWS_established] -= open;
		return;
	}
	counters->value[TWS_established] += !open;
	counters->value[tws_ending_counter(ending)]++;
	counters->value[tws_via_counter(via)]++;
	counters->value[TWS_folded_unseen] += ending == TWS_END_UNSEEN;
	policy = tws_ending_fin_reset_outcome(ending, slot->flags);
	if (policy != TWS_COUNTERS)
		counters->value[policy]++;
}

/* Counts what no slot accounts for: the process may have been killed between changing a
 * slot and counting the change. tools/model/join.c does the same while the segment
 * exists. */
static void end_rest(struct tws_counters *counters)
{
	int64_t open = (int64_t)owed_open(counters), connecting;

	if (open > 0) {
		counters->value[TWS_ended_unseen] += (uint64_t)open;
		counters->value[TWS_folded_unseen] += (uint64_t)open;
		counters->value[TWS_via_kill] += (uint64_t)open;
	} else {
		counters->value[TWS_established] -= (uint64_t)open;
	}
	connecting = (int64_t)owed_connecting(counters);
	if (connecting > 0)
		counters->value[TWS_abandoned] += (uint64_t)connecting;
	else
		counters->value[TWS_attempts] -= (uint64_t)connecting;
}

/* A connection of an arm counts in its destination and in the arm. */
static void end_slots(struct tws_header *header)
{
	struct tws_connection *slot = tws_fold_section(header, TWS_SECTION_CONNECTIONS);
	struct tws_destination *entry =
	    tws_fold_section(header, TWS_SECTION_DESTINATIONS);
	struct tws_arm *arm = tws_fold_section(header, TWS_SECTION_ARMS);
	uint32_t destinations = tws_fold_used(header, TWS_SECTION_DESTINATIONS);
	uint32_t arms = tws_fold_used(header, TWS_SECTION_ARMS);

	for (uint32_t i = 0; i < tws_fold_used(header, TWS_SECTION_CONNECTIONS); i++) {
		if (slot[i].state < TWS_CONN_CONNECTING ||
		    slot[i].state > TWS_CONN_ENDING ||
		    slot[i].destination >= destinations)
			continue;
		end_slot(header, &slot[i], &entry[slot[i].destination].counters);
		if (slot[i].arm && slot[i].arm <= arms)
			end_slot(header, &slot[i], &arm[slot[i].arm - 1].counters);
	}
	for (uint32_t i = 0; i < destinations; i++)
		end_rest(&entry[i].counters);
	for (uint32_t i = 0; i < arms; i++)
		end_rest(&arm[i].counters);
}

static void clear_gauges(struct tws_counters *counters)
{
	counters->value[TWS_connecting] = 0;
	counters->value[TWS_open] = 0;
}

static void add_word(struct tws_header *totals, const struct tws_header *header,
		     uint64_t word, const uint16_t *index)
{
	struct tws_section *to = &totals->section[TWS_SECTION_TIME_WAIT];
	uint64_t *ring = tws_fold_section(totals, TWS_SECTION_TIME_WAIT);
	uint16_t destination = TWS_TW_DESTINATION(word);

	if (word && destination < tws_fold_used(header, TWS_SECTION_DESTINATIONS))
		ring[totals->time_wait_tickets++ % to->count] =
		    TWS_TW_PACK(TWS_TW_COOKIE(word), (uint64_t)index[destination]);
}

/* A connection that was open when its process was killed is not in the segment's ring. */
static void add_open(struct tws_header *totals, const struct tws_header *header,
		     const uint16_t *index)
{
	const struct tws_connection *slot =
	    tws_fold_section(header, TWS_SECTION_CONNECTIONS);

	for (uint32_t i = 0; i < tws_fold_used(header, TWS_SECTION_CONNECTIONS); i++) {
		enum tws_ending ending;
		enum tws_via via;

		if (slot[i].state < TWS_CONN_CONNECTING ||
		    slot[i].state > TWS_CONN_ENDING || slot[i].flags & TWS_CONN_ADOPTED)
			continue;
		tws_fold_settle(header, &slot[i], &ending, &via);
		if (ending == TWS_END_LOCAL_FIN || ending == TWS_END_UNSEEN)
			add_word(totals, header,
				 TWS_TW_PACK(TWS_TW_COOKIE(tws_socket_key(&slot[i])),
					     (uint64_t)slot[i].destination),
				 index);
	}
}

static void add_time_wait(struct tws_header *totals, const struct tws_header *header,
			  const uint16_t *index)
{
	struct tws_section *to = &totals->section[TWS_SECTION_TIME_WAIT];
	const uint64_t *from = tws_fold_section(header, TWS_SECTION_TIME_WAIT);

	for (uint32_t i = 0; i < tws_fold_used(header, TWS_SECTION_TIME_WAIT); i++)
		add_word(totals, header, from[i], index);
	add_open(totals, header, index);
	to->used = totals->time_wait_tickets < to->count
		       ? (uint32_t)totals->time_wait_tickets
		       : to->count;
}

static bool same_arm(const struct tws_arm *a, const struct tws_arm *b)
{
	return !strncmp(a->name, b->name, TWS_NAME_SIZE) &&
	       !strncmp(a->experiment, b->experiment, TWS_NAME_SIZE);
}

static void add_arm(struct tws_header *totals, const struct tws_arm *arm)
{
	struct tws_section *at = &totals->section[TWS_SECTION_ARMS];
	struct tws_arm *entry = tws_fold_section(totals, TWS_SECTION_ARMS);
	uint32_t i = 0;

	while (i < at->used && !same_arm(&entry[i], arm))
		i++;
	if (i == at->count)
		return;
	if (i == at->used) {
		at->used++;
		memcpy(&entry[i], arm, offsetof(struct tws_arm, counters));
	}
	fold_counters(&entry[i].counters, &arm->counters);
	clear_gauges(&entry[i].counters);
}

static void add_processes(struct tws_header *totals, const struct tws_header *header)
{
	if (header->state != TWS_SEGMENT_TOTALS) {
		totals->folded_processes++;
		if (header->observer < TWS_OBSERVER_ROOM)
			totals->folded_observed[header->observer]++;
		return;
	}
	totals->folded_processes += header->folded_processes;
	for (unsigned i = 0; i < TWS_OBSERVER_ROOM; i++)
		totals->folded_observed[i] += header->folded_observed[i];
}

void tws_fold_add(struct tws_header *totals, struct tws_header *header, uint16_t *index)
{
	struct tws_destination *from = tws_fold_section(header, TWS_SECTION_DESTINATIONS);
	struct tws_destination *to = tws_fold_section(totals, TWS_SECTION_DESTINATIONS);
	const struct tws_arm *arm = tws_fold_section(header, TWS_SECTION_ARMS);
	uint32_t count = tws_fold_used(header, TWS_SECTION_DESTINATIONS);

	end_slots(header);
	fold_counters(tws_fold_section(totals, TWS_SECTION_PROCESS),
		      tws_fold_section(header, TWS_SECTION_PROCESS));
	clear_gauges(tws_fold_section(totals, TWS_SECTION_PROCESS));
	for (uint32_t i = 0; i < count && i <= UINT16_MAX; i++) {
		index[i] = i ? (uint16_t)find_total(totals, &from[i].address) : 0;
		fold_counters(&to[index[i]].counters, &from[i].counters);
		clear_gauges(&to[index[i]].counters);
	}
	tws_fold_slices(totals, header, index);
	for (uint32_t i = 0; i < tws_fold_used(header, TWS_SECTION_ARMS); i++)
		if (arm[i].state == TWS_DESTINATION_READY)
			add_arm(totals, &arm[i]);
	add_time_wait(totals, header, index);
	totals->detail = totals->detail && header->detail;
	if (header->heartbeat_ns > totals->heartbeat_ns)
		totals->heartbeat_ns = header->heartbeat_ns;
	add_processes(totals, header);
}
