/* SPDX-License-Identifier: MIT
 *
 * The pools of local ports, one per source address: bind() to an address and port 0 takes
 * a port that no socket of this address uses, whatever its destination.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"
#include "tools/model/traffic.h"

struct counting {
	struct traffic *traffic;
	const struct model *model;
	struct cookie_map by_address; /* position in the pools */
	struct cookie_map by_port;    /* ports of a pool that were counted */
	struct cookie_map by_owner;   /* ports of a pool that an application holds */
};

static int add_pool(struct counting *counting, const struct kernel_socket *socket)
{
	struct traffic *traffic = counting->traffic;
	struct traffic_pool *pools =
	    array_grow(traffic->pools, traffic->pool_count, sizeof(*pools));

	if (!pools)
		return -ENOMEM;
	traffic->pools = pools;
	pools = &traffic->pools[traffic->pool_count++];
	*pools = (struct traffic_pool){.from = socket->local,
				       .range = counting->model->ports.count,
				       .app = MODEL_NOBODY};
	pools->from.port = 0;
	return 0;
}

static int find_pool(struct counting *counting, const struct kernel_socket *socket,
		     uint32_t *ret_index)
{
	struct traffic *traffic = counting->traffic;
	struct tws_address from = socket->local;
	uint64_t hash;
	int added;

	from.port = 0;
	hash = model_hash_address(&from);
	added =
	    cookie_map_add(&counting->by_address, hash, (uint32_t)traffic->pool_count);
	if (added == 0)
		added = add_pool(counting, socket);
	if (added < 0)
		return added;
	*ret_index = *cookie_map_find(&counting->by_address, hash);
	return 0;
}

/* Finds out who holds most ports of the pool so far. */
static int count_pool_owner(struct counting *counting, uint32_t index, uint32_t app)
{
	struct traffic_pool *pool = &counting->traffic->pools[index];
	uint64_t key = (uint64_t)(index + 1) << 32 | app;
	uint32_t *owned;

	if (cookie_map_add(&counting->by_owner, key, 0) < 0)
		return -ENOMEM;
	owned = cookie_map_find(&counting->by_owner, key);
	if (++*owned > pool->owned) {
		pool->owned = *owned;
		pool->app = app;
	}
	return 0;
}

/* Several sockets, to different destinations, may share a port. */
static int count_pool_port(struct counting *counting, size_t socket_index)
{
	const struct model *model = counting->model;
	const struct kernel_socket *socket = &model->table.sockets[socket_index];
	uint32_t index = 0;
	int result = find_pool(counting, socket, &index);

	if (result != 0)
		return result;
	result = cookie_map_add(&counting->by_port,
				(uint64_t)(index + 1) << 16 | socket->local.port, 0);
	if (result < 0)
		return result;
	if (result > 0)
		return 0;
	counting->traffic->pools[index].used++;
	return count_pool_owner(counting, index, model->owners[socket_index].app);
}

static int compare_pools(const void *a, const void *b)
{
	const struct traffic_pool *x = a, *y = b;

	if (x->used != y->used)
		return x->used < y->used ? 1 : -1;
	return memcmp(&x->from, &y->from, sizeof(x->from));
}

int traffic_count_pools(struct traffic *traffic, const struct model *model)
{
	struct counting counting = {.traffic = traffic, .model = model};
	const struct kernel_socket *socket;
	int result = 0;

	for (size_t i = 0; result == 0 && i < model->table.count; i++) {
		socket = &model->table.sockets[i];
		if (socket->remote.port &&
		    kernel_ports_hold(&model->ports, socket->local.port))
			result = count_pool_port(&counting, i);
	}
	if (traffic->pool_count)
		qsort(traffic->pools, traffic->pool_count, sizeof(*traffic->pools),
		      compare_pools);
	cookie_map_free(&counting.by_address);
	cookie_map_free(&counting.by_port);
	cookie_map_free(&counting.by_owner);
	return result;
}
