/* SPDX-License-Identifier: MIT
 *
 * Joins segments with the kernel's table: who owns each socket, and which of the
 * predicted TIME_WAIT sockets are in the table.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "tools/model/join.h"
#include "tools/model/model.h"

/* Connections that ended this close to either end of a TIME_WAIT's life may or may not be
 * in the table. */
#define MARGIN_NS 1500000000ULL

struct joining {
	struct model *model;
	const struct segment *segment;
	struct model_owner owner; /* the destination is set for each socket */
	const uint32_t *indexes;
	struct model_time_wait *found; /* one per destination of the segment */
	bool visible; /* the table covers its namespace, so a socket that is missing has
			 gone */
};

static uint32_t in_range(const struct joining *joining, uint32_t destination)
{
	return destination < joining->segment->used[TWS_SECTION_DESTINATIONS]
		   ? destination
		   : 0;
}

static void note_time_wait(struct model_time_wait *found, uint32_t expires_ms)
{
	uint32_t left = expires_ms ? expires_ms : 1;

	found->confirmed++;
	if (!found->oldest_leaves_ms || left < found->oldest_leaves_ms)
		found->oldest_leaves_ms = left;
	if (left > found->newest_leaves_ms)
		found->newest_leaves_ms = left;
}

/* Takes back what a claim that proved invalid has counted. The prediction stays, because
 * it is only a claim. */
static void take_back(struct model *model, const struct model_owner *owner)
{
	struct model_app *app = &model->apps[owner->app];

	app->destinations[owner->destination].time_wait.confirmed--;
	app->time_wait.confirmed--;
	if (!app->hidden)
		model->time_wait.confirmed--;
	if (owner->process != MODEL_NOBODY)
		model->processes[owner->process].time_wait--;
}

/* Returns whether the user may claim this socket. The kernel knows the socket's user only
 * while it has a descriptor, not in TIME_WAIT. If two users claim a socket, neither gets
 * it, unless one of them is root or we ourselves. */
static bool may_claim(struct model *model, const struct kernel_socket *socket,
		      struct model_owner *owner, uint32_t uid)
{
	if (!allowance_is_trusted(uid) && socket->inode && socket->uid != uid)
		return false;
	if (owner->disputed)
		return allowance_is_trusted(uid);
	if (owner->app == MODEL_NOBODY)
		return true;
	if (owner->uid == uid || allowance_is_trusted(owner->uid))
		return false;
	if (socket->state == TCP_TIME_WAIT)
		take_back(model, owner);
	owner->app = owner->process = MODEL_NOBODY;
	owner->disputed = true;
	model->disputed++;
	return allowance_is_trusted(uid);
}

/* Whether TIME_WAIT will follow. `ended`: the process closed it and knows that. Until the
 * peer closes too, the kernel keeps the socket of an MPTCP connection ESTABLISHED. */
static bool is_pending(const struct kernel_socket *socket, bool ended)
{
	enum join_where where = join_where(socket);

	return where == JOIN_CLOSED_HERE || (ended && where == JOIN_HELD);
}

/* The first segment that names a cookie owns the socket; two segments name the same one
 * if a connection was handed on. `leaves`: its end leaves TIME_WAIT. */
static void claim_socket(struct joining *joining, uint64_t key, uint32_t destination,
			 bool ended, bool leaves)
{
	struct model *model = joining->model;
	const struct kernel_socket *socket = kernel_table_find_key(&model->table, key);
	struct model_owner *owner;

	if (!socket)
		return;
	owner = &model->owners[socket - model->table.sockets];
	if (!may_claim(model, socket, owner, joining->owner.uid))
		return;
	model->disputed -= owner->disputed;
	destination = in_range(joining, destination);
	*owner = joining->owner;
	owner->destination = joining->indexes[destination];
	if (socket->state == TCP_TIME_WAIT)
		note_time_wait(&joining->found[destination], socket->expires_ms);
	else if (leaves && is_pending(socket, ended))
		joining->found[destination].pending++;
}

/* Prefetches the sockets that are claimed a few steps later. Otherwise 28,000 claims in a
 * row would each wait three times for memory. */
static void bring_near(const struct joining *joining, uint32_t index)
{
	const struct model *model = joining->model;
	const uint64_t *words = joining->segment->time_wait;
	uint32_t used = joining->segment->used[TWS_SECTION_TIME_WAIT];
	const struct kernel_socket *socket;

	if (index + COOKIE_MAP_AHEAD < used)
		cookie_map_prefetch(&model->table.by_cookie,
				    TWS_TW_COOKIE(words[index + COOKIE_MAP_AHEAD]));
	if (index + COOKIE_MAP_AHEAD / 2 >= used)
		return;
	socket = kernel_table_find(&model->table,
				   TWS_TW_COOKIE(words[index + COOKIE_MAP_AHEAD / 2]));
	if (!socket)
		return;
	__builtin_prefetch(&socket->expires_ms);
	__builtin_prefetch(&socket->state);
	__builtin_prefetch(&model->owners[socket - model->table.sockets], 1);
}

static void claim_all(struct joining *joining)
{
	const struct segment *segment = joining->segment;
	const uint32_t used = segment->used[TWS_SECTION_TIME_WAIT];
	const struct tws_connection *slot;

	for (uint32_t i = 0; i < used && i < COOKIE_MAP_AHEAD; i++)
		cookie_map_prefetch(&joining->model->table.by_cookie,
				    TWS_TW_COOKIE(segment->time_wait[i]));
	for (uint32_t i = 0; i < used; i++) {
		bring_near(joining, i);
		if (!segment->time_wait[i])
			continue; /* not written yet */
		claim_socket(joining, TWS_TW_COOKIE(segment->time_wait[i]),
			     TWS_TW_DESTINATION(segment->time_wait[i]), true, true);
	}
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_CONNECTIONS]; i++) {
		slot = &segment->connections[i];
		if (slot->state >= TWS_CONN_CONNECTING)
			claim_socket(joining, tws_socket_key(slot), slot->destination,
				     false, !(slot->flags & TWS_CONN_POLICY_LINGER2));
	}
}

/* Whether the process began within the last minute: then everything that it left must
 * still be there. */
static bool is_young(const struct joining *joining)
{
	const struct tws_header *header = &joining->segment->header;

	return header->state != TWS_SEGMENT_TOTALS &&
	       header->created_monotonic_ns + MODEL_TIME_WAIT_NS - MARGIN_NS >
		   joining->model->table_ns;
}

static void predict_young(struct joining *joining)
{
	const struct segment *segment = joining->segment;
	struct model_time_wait *found;
	uint64_t seen;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++) {
		found = &joining->found[i];
		seen = found->confirmed + found->pending;
		found->predicted =
		    segment->destinations[i].counters.value[TWS_ended_local_fin];
		if (found->predicted < seen)
			found->predicted = seen;
		if (joining->visible)
			found->gone_early = found->predicted - seen;
	}
}

/* For an older process, its last endings tell, as far back as the ring goes. */
static void predict_old(struct joining *joining)
{
	const struct segment *segment = joining->segment;
	struct model *model = joining->model;
	const struct tws_ended *ended;
	struct model_time_wait *found;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ENDED]; i++) {
		ended = &segment->ended[i];
		if (!segment_ended_is_whole(segment, i) ||
		    ended->ending != TWS_END_LOCAL_FIN ||
		    ended->ended_ns + MODEL_TIME_WAIT_NS - MARGIN_NS < model->table_ns ||
		    ended->ended_ns > model->table_ns)
			continue;
		found = &joining->found[in_range(joining, ended->destination)];
		if (!joining->visible)
			found->predicted++;
		else if (!kernel_table_find_key(&model->table, join_ended_key(ended)))
			found->gone_early++;
	}
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++) {
		found = &joining->found[i];
		found->predicted += found->confirmed + found->pending + found->gone_early;
	}
}

static void merge(struct model_time_wait *sum, const struct model_time_wait *one)
{
	sum->predicted += one->predicted;
	sum->confirmed += one->confirmed;
	sum->pending += one->pending;
	sum->gone_early += one->gone_early;
	if (one->oldest_leaves_ms &&
	    (!sum->oldest_leaves_ms || one->oldest_leaves_ms < sum->oldest_leaves_ms))
		sum->oldest_leaves_ms = one->oldest_leaves_ms;
	if (one->newest_leaves_ms > sum->newest_leaves_ms)
		sum->newest_leaves_ms = one->newest_leaves_ms;
}

static void merge_all(struct joining *joining)
{
	struct model *model = joining->model;
	struct model_app *app = &model->apps[joining->owner.app];
	const struct model_time_wait *found;

	for (uint32_t i = 0; i < joining->segment->used[TWS_SECTION_DESTINATIONS]; i++) {
		found = &joining->found[i];
		merge(&app->destinations[joining->indexes[i]].time_wait, found);
		merge(&app->time_wait, found);
		if (!app->hidden)
			merge(&model->time_wait, found);
		if (joining->owner.process != MODEL_NOBODY)
			model->processes[joining->owner.process].time_wait +=
			    found->confirmed;
	}
}

int model_join_time_wait(struct model *model, const struct segment *segment, uint32_t app,
			 const uint32_t *indexes, uint32_t process)
{
	struct joining joining = {
	    .model = model,
	    .segment = segment,
	    .owner = {.app = app,
		      .process = process,
		      .uid = segment->by_root ? 0 : segment->header.uid},
	    .indexes = indexes,
	    .found = calloc(segment->used[TWS_SECTION_DESTINATIONS] + 1,
			    sizeof(struct model_time_wait)),
	    .visible =
		model->has_table && segment->header.net_namespace == model->net_namespace,
	};

	if (!joining.found)
		return -ENOMEM;
	if (segment->used[TWS_SECTION_DESTINATIONS]) {
		if (joining.visible)
			claim_all(&joining);
		if (is_young(&joining))
			predict_young(&joining);
		else
			predict_old(&joining);
		merge_all(&joining);
	}
	free(joining.found);
	return 0;
}
