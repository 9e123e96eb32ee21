/* SPDX-License-Identifier: MIT
 *
 * One pass over the table. Each socket finds its group by a hash of what the group
 * shares. Two groups with the same hash would be merged, but with 64 bits that does not
 * happen by chance.
 */
#include "tools/model/owners.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"

#define NO_GROUP UINT32_MAX

struct grouping {
	struct owners *owners;
	struct cookie_map by_key;
	/* For sockets whose local port does not tell the direction: how many share the
	 * local port, and how many share the remote address and port. */
	uint32_t at_port[65536];
	struct cookie_map at_remote;
};

/* The local port has no listener and lies outside the range of connect(). The listener
 * may have gone, a client may have chosen the port itself, or the range has changed
 * since. */
static bool is_doubtful(const struct grouping *grouping, size_t index)
{
	const struct model *model = grouping->owners->model;
	const struct kernel_socket *socket = &model->table.sockets[index];

	return socket->state == TCP_TIME_WAIT &&
	       model->owners[index].app == MODEL_NOBODY && model->ports.high &&
	       !model_has_listener(model, socket->local.port) &&
	       !kernel_ports_hold(&model->ports, socket->local.port);
}

/* Returns 0 or -ENOMEM. */
static int count_doubtful(struct grouping *grouping)
{
	const struct kernel_table *table = &grouping->owners->model->table;
	uint64_t remote;

	for (size_t i = 0; i < table->count; i++) {
		if (!is_doubtful(grouping, i))
			continue;
		remote = model_hash_address(&table->sockets[i].remote);
		if (cookie_map_add(&grouping->at_remote, remote, 0) < 0)
			return -ENOMEM;
		++*cookie_map_find(&grouping->at_remote, remote);
		grouping->at_port[table->sockets[i].local.port]++;
	}
	return 0;
}

/* Connections of one service share its end. If only one connection is seen, the lower
 * port is taken for the service's. */
static bool looks_incoming(const struct grouping *grouping,
			   const struct kernel_socket *socket)
{
	uint32_t here = grouping->at_port[socket->local.port];
	uint32_t there =
	    *cookie_map_find(&grouping->at_remote, model_hash_address(&socket->remote));

	return here == there ? socket->local.port < socket->remote.port : here > there;
}

static bool is_incoming(const struct grouping *grouping, size_t index)
{
	const struct kernel_socket *socket =
	    &grouping->owners->model->table.sockets[index];

	if (is_doubtful(grouping, index))
		return looks_incoming(grouping, socket);
	return model_is_incoming(grouping->owners->model, index);
}

/* Returns what the socket's group has in common, without counts. */
static struct owners_group describe_group(const struct grouping *grouping, size_t index)
{
	const struct model *model = grouping->owners->model;
	const struct kernel_socket *socket = &model->table.sockets[index];
	const struct model_owner *owner = &model->owners[index];
	struct owners_group group = {.app = owner->app, .process = owner->process};

	if (owner->app != MODEL_NOBODY) {
		group.to = socket->remote;
	} else if (is_incoming(grouping, index)) {
		group.kind = OWNERS_INCOMING;
		group.local_port = socket->local.port;
		group.has_listener = model_is_incoming(model, index);
	} else {
		group.kind = OWNERS_OUTGOING;
		group.to = socket->remote;
	}
	return group;
}

/* For a known owner, the index of the destination stands for the address; `other` stands
 * for many, so there the address itself is used. */
static uint64_t hash_group(const struct model *model, size_t index,
			   const struct owners_group *group)
{
	const struct model_owner *owner = &model->owners[index];
	uint64_t hash = model_mix((uint64_t)group->kind << 16 | group->local_port,
				  (uint64_t)group->app << 32 | group->process);

	if (owner->app != MODEL_NOBODY &&
	    model->apps[owner->app].destinations[owner->destination].address.family)
		hash = model_mix(hash, owner->destination);
	else
		hash = model_mix(hash, model_hash_address(&group->to));
	return hash ? hash : 1;
}

/* Returns 0 or -ENOMEM. */
static int add_group(struct owners *owners, const struct owners_group *group)
{
	struct owners_group *groups =
	    array_grow(owners->groups, owners->count, sizeof(*groups));

	if (!groups)
		return -ENOMEM;
	owners->groups = groups;
	owners->groups[owners->count++] = *group;
	return 0;
}

static void count_in_group(struct owners_group *group, uint32_t expires_ms)
{
	uint32_t left = expires_ms ? expires_ms : 1;

	group->count++;
	if (!group->oldest_leaves_ms || left < group->oldest_leaves_ms)
		group->oldest_leaves_ms = left;
	if (left > group->newest_leaves_ms)
		group->newest_leaves_ms = left;
}

static int take_socket(struct grouping *grouping, size_t index)
{
	struct owners *owners = grouping->owners;
	struct owners_group group = describe_group(grouping, index);
	uint64_t key = hash_group(owners->model, index, &group);
	int added = cookie_map_add(&grouping->by_key, key, (uint32_t)owners->count);

	if (added == 0)
		added = add_group(owners, &group);
	if (added < 0)
		return added;
	owners->group_of[index] = *cookie_map_find(&grouping->by_key, key);
	count_in_group(&owners->groups[owners->group_of[index]],
		       owners->model->table.sockets[index].expires_ms);
	return 0;
}

struct ranked {
	struct owners_group group;
	uint32_t before; /* its index before sorting */
};

static int compare_groups(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->group.kind != y->group.kind)
		return x->group.kind < y->group.kind ? -1 : 1;
	if (x->group.count != y->group.count)
		return x->group.count < y->group.count ? 1 : -1;
	return x->before < y->before ? -1 : 1;
}

static int sort_groups(struct owners *owners)
{
	struct ranked *ranked = calloc(owners->count + 1, sizeof(*ranked));
	uint32_t *now = calloc(owners->count + 1, sizeof(*now));
	int result = ranked && now ? 0 : -ENOMEM;

	for (uint32_t i = 0; result == 0 && i < owners->count; i++)
		ranked[i] = (struct ranked){owners->groups[i], i};
	if (result == 0)
		qsort(ranked, owners->count, sizeof(*ranked), compare_groups);
	for (uint32_t i = 0; result == 0 && i < owners->count; i++) {
		owners->groups[i] = ranked[i].group;
		now[ranked[i].before] = i;
	}
	for (size_t i = 0; result == 0 && i < owners->model->table.count; i++)
		if (owners->group_of[i] != NO_GROUP)
			owners->group_of[i] = now[owners->group_of[i]];
	free(ranked);
	free(now);
	return result;
}

int owners_group(struct owners *ret_owners, const struct model *model)
{
	struct grouping *grouping = calloc(1, sizeof(*grouping));
	size_t count = model->table.count;
	int result = 0;

	*ret_owners = (struct owners){
	    .model = model,
	    .group_of = malloc((count + 1) * sizeof(*ret_owners->group_of)),
	};
	if (!grouping || !ret_owners->group_of) {
		free(grouping);
		return -ENOMEM;
	}
	memset(ret_owners->group_of, 0xff, (count + 1) * sizeof(*ret_owners->group_of));
	grouping->owners = ret_owners;
	result = count_doubtful(grouping);
	for (size_t i = 0; result == 0 && i < count; i++)
		if (model->table.sockets[i].state == TCP_TIME_WAIT)
			result = take_socket(grouping, i);
	if (result == 0)
		result = sort_groups(ret_owners);
	cookie_map_free(&grouping->by_key);
	cookie_map_free(&grouping->at_remote);
	free(grouping);
	return result;
}

void owners_free(struct owners *owners)
{
	free(owners->groups);
	free(owners->group_of);
	*owners = (struct owners){0};
}

enum owners_part owners_part_of(const struct owners_group *group)
{
	if (group->kind == OWNERS_KNOWN)
		return OWNERS_PART_KNOWN;
	return group->has_listener ? OWNERS_PART_INCOMING : OWNERS_PART_UNOWNED;
}

double owners_exited_s(const struct owners *owners, const struct owners_group *group)
{
	const struct model *model = owners->model;
	const struct model_process *process;
	uint64_t ago_ns = 0, youngest_ns;

	if (group->process == MODEL_NOBODY)
		return -1;
	process = &model->processes[group->process];
	if (process->life != PROCESS_DEAD)
		return -1;
	if (model->table_ns > process->last_event_ns)
		ago_ns = model->table_ns - process->last_event_ns;
	youngest_ns = MODEL_TIME_WAIT_NS - group->newest_leaves_ms * 1000000ULL;
	if (group->newest_leaves_ms <= MODEL_TIME_WAIT_NS / 1000000 &&
	    youngest_ns < ago_ns)
		ago_ns = youngest_ns;
	return (double)ago_ns / 1e9;
}
