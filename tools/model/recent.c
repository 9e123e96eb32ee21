/* SPDX-License-Identifier: MIT
 *
 * What happened in the last minute, from the rings of ended connections. Counters cover a
 * process's whole life, but a diagnosis is about now. A ring holds only its last records,
 * so these numbers are lower bounds.
 */
#include "tools/model/model.h"

#define RATE_NS 10000000000ULL /* the period of a rate */

static bool is_no_port(uint8_t failure)
{
	return failure == TWS_failed_no_port || failure == TWS_failed_address_in_use;
}

static void note_ending(struct model_recent *recent, const struct tws_ended *ended)
{
	recent->ended++;
	if (ended->ending <= TWS_END_FAILED)
		recent->ending[ended->ending]++;
	recent->no_port += ended->ending == TWS_END_FAILED && is_no_port(ended->failure);
	recent->short_lived += (ended->flags & TWS_CONN_SHORT_LIVED) != 0;
	recent->early_bind +=
	    ended->flags & TWS_CONN_APP_BOUND_0 && !(ended->flags & TWS_CONN_LATE_BIND);
	recent->port_ring += (ended->flags & TWS_CONN_PORT_RING) != 0;
	recent->reuseaddr += (ended->flags & TWS_CONN_APP_REUSEADDR) != 0;
	recent->linger_time += (ended->flags & TWS_CONN_APP_LINGER_N) != 0;
}

static bool is_within(uint64_t then, uint64_t now)
{
	return then && then <= now && now - then < RATE_NS;
}

/* Connections begun per second, from those that ended and those that are open. If the
 * ring was overwritten within the period, the rate covers only the time since its oldest
 * record; for a young process it covers the process's life. */
static double rate_of(const struct segment *segment, uint64_t now)
{
	uint64_t begun = 0, since = segment->header.created_monotonic_ns, oldest = now;
	const struct tws_section *ring = &segment->header.section[TWS_SECTION_ENDED];
	const struct tws_connection *slot;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ENDED]; i++) {
		if (!segment_ended_is_whole(segment, i))
			continue;
		begun += is_within(segment->ended[i].began_ns, now);
		if (segment->ended[i].ended_ns < oldest)
			oldest = segment->ended[i].ended_ns;
	}
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_CONNECTIONS]; i++) {
		slot = &segment->connections[i];
		begun += (slot->state == TWS_CONN_OPEN ||
			  slot->state == TWS_CONN_CONNECTING) &&
			 is_within(slot->began_ns, now);
	}
	if (segment->header.ended_tickets > ring->count && oldest > since)
		since = oldest;
	if (now < since || now - since > RATE_NS)
		since = now - RATE_NS;
	return now > since ? (double)begun * 1e9 / (double)(now - since) : 0;
}

static void note_no_port(struct model_app *app, uint32_t destination, uint64_t count)
{
	app->recent.no_port += count;
	app->destinations[destination].recent.no_port += count;
}

/* A slot keeps the failure of an immediate connect() until another connection takes the
 * slot. */
static bool failed_lately(const struct tws_connection *slot, uint64_t now)
{
	return (slot->state == TWS_CONN_FREE || slot->state == TWS_CONN_CLAIMED) &&
	       slot->ending == TWS_END_NONE && !slot->established_ns &&
	       is_no_port(slot->failure) && slot->began_ns + MODEL_TIME_WAIT_NS >= now;
}

/* An immediate failure of connect() is not in the ring. For a young process the counters
 * give all of them; for an older process, those whose slots were not reused. */
static void note_failures(struct model *model, const struct segment *segment,
			  uint32_t app, const uint32_t *indexes)
{
	const uint32_t destinations = segment->used[TWS_SECTION_DESTINATIONS];
	struct model_app *owner = &model->apps[app];
	const struct tws_connection *slot;
	const uint64_t *value;

	if (segment->header.state == TWS_SEGMENT_TOTALS || !destinations)
		return;
	if (segment->header.created_monotonic_ns + MODEL_TIME_WAIT_NS < model->table_ns) {
		for (uint32_t i = 0; i < segment->used[TWS_SECTION_CONNECTIONS]; i++) {
			slot = &segment->connections[i];
			if (failed_lately(slot, model->table_ns))
				note_no_port(owner,
					     indexes[slot->destination < destinations
							 ? slot->destination
							 : 0],
					     1);
		}
		return;
	}
	for (uint32_t i = 0; i < destinations; i++) {
		value = segment->destinations[i].counters.value;
		note_no_port(owner, indexes[i],
			     value[TWS_failed_no_port] +
				 value[TWS_failed_address_in_use]);
	}
}

void model_note_recent(struct model *model, const struct segment *segment, uint32_t app,
		       const uint32_t *indexes, uint32_t process)
{
	const struct tws_ended *ended;
	struct model_app *owner = &model->apps[app];
	uint32_t destination;

	note_failures(model, segment, app, indexes);
	if (process != MODEL_NOBODY && segment->life != PROCESS_DEAD)
		model->processes[process].rate = rate_of(segment, model->table_ns);
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ENDED]; i++) {
		ended = &segment->ended[i];
		if (!segment_ended_is_whole(segment, i) ||
		    ended->ended_ns + MODEL_TIME_WAIT_NS < model->table_ns)
			continue;
		destination = ended->destination;
		if (destination >= segment->used[TWS_SECTION_DESTINATIONS])
			destination = 0;
		note_ending(&owner->recent, ended);
		if (segment->used[TWS_SECTION_DESTINATIONS])
			note_ending(&owner->destinations[indexes[destination]].recent,
				    ended);
	}
}
