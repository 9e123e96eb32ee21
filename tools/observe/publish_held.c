/* SPDX-License-Identifier: MIT
 *
 * How many connections a process has at the same time, for a source that sees no close:
 * as many as it has descriptors on which one began. A descriptor is closed when another
 * connection begins on it, or when its connection ends.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/observe/publish_parts.h"

#define DESCRIPTORS_MAX (1u << 20)

static uint64_t *place_of_descriptor(struct published *published, uint32_t descriptor)
{
	uint32_t room = published->held_room ? published->held_room : 64;
	uint64_t *grown;

	if (descriptor < published->held_room)
		return &published->held[descriptor];
	if (descriptor >= DESCRIPTORS_MAX)
		return NULL;
	while (room <= descriptor)
		room *= 2;
	grown = reallocarray(published->held, room, sizeof(*grown));
	if (!grown)
		return NULL;
	memset(grown + published->held_room, 0,
	       (room - published->held_room) * sizeof(*grown));
	published->held = grown;
	published->held_room = room;
	return &grown[descriptor];
}

static uint16_t *live_there(struct published *published, uint16_t destination)
{
	if (!published->live_there)
		published->live_there = calloc(UINT16_MAX + 1, sizeof(uint16_t));
	return published->live_there ? &published->live_there[destination] : NULL;
}

void publish_hold(struct open_connection *open, uint32_t descriptor)
{
	struct published *published = open->published;
	uint64_t *place = place_of_descriptor(published, descriptor);
	uint16_t *there = live_there(published, open->destination);
	struct open_connection *before;

	if (!place || !there)
		return;
	before = *place ? open_table_find(&published->publisher->table, *place) : NULL;
	if (before && before->published == published && before->descriptor == descriptor)
		publish_release(before);
	*place = open->cookie;
	open->descriptor = descriptor;
	open->live = ++published->live;
	open->live_there = *there < UINT16_MAX ? ++*there : *there;
}

void publish_release(struct open_connection *open)
{
	struct published *published = open->published;
	uint16_t *there;

	if (!open->descriptor)
		return;
	there = live_there(published, open->destination);
	open->descriptor = 0;
	published->live--;
	if (there && *there)
		--*there;
}

/* The counters that a reader has seen already go down by one there. */
static void count_moved(const struct open_connection *open, uint16_t from, uint16_t to)
{
	const enum tws_section_id id = TWS_SECTION_DESTINATIONS;
	const struct publish_file *file = &open->published->file;
	struct tws_destination *there = publish_file_at(file, id, from);
	struct tws_destination *here = publish_file_at(file, id, to);
	const enum tws_counter counters[] = {TWS_attempts, TWS_established, TWS_open};
	size_t count = open->established_ns ? 3 : 1;

	for (size_t i = 0; i < count; i++) {
		__atomic_fetch_add(&here->counters.value[counters[i]], 1,
				   __ATOMIC_RELEASE);
		__atomic_fetch_sub(&there->counters.value[counters[i]], 1,
				   __ATOMIC_RELEASE);
	}
}

void publish_moved(struct open_connection *open, const struct tws_address *remote)
{
	uint16_t from = open->destination,
		 to = publish_destination(open->published, remote);
	struct tws_connection *slot;
	uint32_t descriptor = open->descriptor;

	if (from == to || (open->established_ns && open->closed_ns))
		return;
	publish_release(open);
	count_moved(open, from, to);
	open->destination = to;
	open->remote = *remote;
	if (descriptor)
		publish_hold(open, descriptor);
	if (open->slot == OPEN_NO_SLOT)
		return;
	slot =
	    publish_file_at(&open->published->file, TWS_SECTION_CONNECTIONS, open->slot);
	slot->remote = *remote;
	slot->destination = to;
}
