/* SPDX-License-Identifier: MIT
 *
 * What happened in the last minute, from the rings of ended connections. Counters cover a
 * process's whole life, but a diagnosis is about now. A ring holds only its last records,
 * so these numbers are lower bounds.
 */
#include "tools/model/model.h"
#include "tools/model/storm.h"

#define RATE_NS 10000000000ULL /* the period of a rate */

static bool is_no_port(uint8_t failure)
{
	return failure == TWS_failed_no_port || failure == TWS_failed_address_in_use;
}

static bool is_early_bind(uint32_t flags)
{
	return flags & TWS_CONN_APP_BOUND_0 && !(flags & TWS_CONN_LATE_BIND);
}

/* The shim's own flag: the program set IP_BIND_ADDRESS_NO_PORT, so that its bind() to
 * port 0 chose no port. */
#define APP_NO_PORT (1u << 29)

static bool is_fixed_port(uint32_t flags)
{
	return flags & TWS_CONN_APP_BOUND &&
	       !(flags & (TWS_CONN_APP_BOUND_0 | TWS_CONN_LATE_BIND | APP_NO_PORT));
}

/* The segment does not know which port of its ring a connection got; the kernel does. */
static bool is_outside(const struct model *model, uint64_t cookie)
{
	const struct kernel_socket *socket = kernel_table_find(&model->table, cookie);

	return socket && !kernel_ports_hold(&model->ports, socket->local.port);
}

static void note_policy(struct model_recent *recent, const struct tws_ended *ended,
			const struct model *model)
{
	recent->fin_reset += (ended->flags & TWS_CONN_POLICY_LINGER2) != 0;
	recent->fin_reset_left +=
	    ended->flags & TWS_CONN_POLICY_LINGER2 && ended->ending == TWS_END_LOCAL_FIN;
	recent->port_range += (ended->flags & TWS_CONN_PORT_RANGE) != 0;
	recent->port_ring += (ended->flags & TWS_CONN_PORT_RING) != 0;
	recent->port_ring_outside +=
	    ended->flags & TWS_CONN_PORT_RING && is_outside(model, ended->cookie);
}

static void note_ending(struct model_recent *recent, const struct tws_ended *ended,
			const struct model *model)
{
	recent->ended++;
	if (ended->ending <= TWS_END_FAILED)
		recent->ending[ended->ending]++;
	recent->no_port += ended->ending == TWS_END_FAILED && is_no_port(ended->failure);
	recent->short_lived += (ended->flags & TWS_CONN_SHORT_LIVED) != 0;
	recent->early_bind += is_early_bind(ended->flags);
	recent->bound += (ended->flags & TWS_CONN_APP_BOUND) != 0;
	recent->fixed_port += is_fixed_port(ended->flags);
	recent->late_close +=
	    ended->ending == TWS_END_LOCAL_FIN && (ended->flags & TWS_CONN_DOUBTFUL) != 0;
	recent->mptcp += (ended->flags & TWS_CONN_MPTCP) != 0;
	recent->reuseaddr += (ended->flags & TWS_CONN_APP_REUSEADDR) != 0;
	recent->linger_time += (ended->flags & TWS_CONN_APP_LINGER_N) != 0;
	note_policy(recent, ended, model);
}

static void note_open(struct model_recent *recent, const struct tws_connection *slot,
		      const struct model *model)
{
	recent->open++;
	recent->open_early_bind += is_early_bind(slot->flags);
	recent->open_port_ring += (slot->flags & TWS_CONN_PORT_RING) != 0;
	recent->port_ring_outside +=
	    slot->flags & TWS_CONN_PORT_RING && is_outside(model, slot->cookie);
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

/* The place in the application of a destination of the segment. */
static uint32_t index_of_destination(const struct segment *segment,
				     const uint32_t *indexes, uint32_t destination)
{
	return indexes[destination < segment->used[TWS_SECTION_DESTINATIONS] ? destination
									     : 0];
}

static bool is_young(const struct model *model, const struct segment *segment)
{
	return segment->header.created_monotonic_ns + MODEL_TIME_WAIT_NS >=
	       model->table_ns;
}

/* An immediate failure of connect() is not in the ring. For a young process the counters
 * give all of them; for an older process, those whose slots were not reused. */
static void note_slots(struct model *model, const struct segment *segment,
		       struct model_app *app, const uint32_t *indexes)
{
	const struct tws_connection *slot;
	struct model_destination *to;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_CONNECTIONS]; i++) {
		slot = &segment->connections[i];
		to = &app->destinations[index_of_destination(segment, indexes,
							     slot->destination)];
		if (failed_lately(slot, model->table_ns)) {
			app->recent.fixed_port += is_fixed_port(slot->flags);
			to->recent.fixed_port += is_fixed_port(slot->flags);
			if (!is_young(model, segment))
				note_no_port(app, (uint32_t)(to - app->destinations), 1);
		} else if ((slot->state == TWS_CONN_OPEN ||
			    slot->state == TWS_CONN_CONNECTING) &&
			   segment->life != PROCESS_DEAD) {
			note_open(&app->recent, slot, model);
			note_open(&to->recent, slot, model);
		}
	}
}

static void note_counters(const struct segment *segment, struct model_app *app,
			  const uint32_t *indexes)
{
	const uint64_t *value;

	app->recent.bind_failed += segment->process.value[TWS_bind_failed_in_use];
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++) {
		value = segment->destinations[i].counters.value;
		note_no_port(app, indexes[i],
			     value[TWS_failed_no_port] +
				 value[TWS_failed_address_in_use]);
	}
}

/* The ring does not tell how a process loaded its libraries. */
static void note_process(const struct model *model, const struct segment *segment,
			 struct model_app *app)
{
	if (segment->life != PROCESS_DEAD || is_young(model, segment) ||
	    segment->header.heartbeat_ns + MODEL_TIME_WAIT_NS >= model->table_ns)
		app->recent.deepbind_processes +=
		    segment->process.value[TWS_deepbind_loads] != 0;
}

static void note_ring(const struct model *model, const struct segment *segment,
		      struct model_app *app, const uint32_t *indexes)
{
	const struct tws_ended *ended;
	uint32_t place;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ENDED]; i++) {
		ended = &segment->ended[i];
		if (!segment_ended_is_whole(segment, i) ||
		    ended->ended_ns + MODEL_TIME_WAIT_NS < model->table_ns)
			continue;
		note_ending(&app->recent, ended, model);
		if (!segment->used[TWS_SECTION_DESTINATIONS])
			continue;
		place = index_of_destination(segment, indexes, ended->destination);
		note_ending(&app->destinations[place].recent, ended, model);
	}
}

void model_note_recent(struct model *model, const struct segment *segment, uint32_t app,
		       const uint32_t *indexes, uint32_t process)
{
	struct model_app *owner = &model->apps[app];

	if (segment->header.state != TWS_SEGMENT_TOTALS) {
		if (segment->used[TWS_SECTION_DESTINATIONS])
			note_slots(model, segment, owner, indexes);
		if (is_young(model, segment))
			note_counters(segment, owner, indexes);
		note_process(model, segment, owner);
	}
	if (process != MODEL_NOBODY && segment->life != PROCESS_DEAD)
		model->processes[process].rate = rate_of(segment, model->table_ns);
	if (process != MODEL_NOBODY)
		storm_note(model, segment, owner,
			   model->processes[process].counters.value[TWS_attempts]);
	note_ring(model, segment, owner, indexes);
}
