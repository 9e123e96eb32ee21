/* SPDX-License-Identifier: MIT
 *
 * How many local ports are in use to each destination, by all processes together. A port
 * is in use for a pair of source address and destination, so the source address that uses
 * most ports decides. Connections that chose their port before connect() share the ports
 * of their source address with all destinations.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

#include "tools/model/model.h"

/* Never returns 0. Two pairs with the same hash would share a count, but with 64 bits
 * that does not happen by chance. Hashes words instead of bytes because it runs for each
 * socket of the host. */
static uint64_t hash_end(uint64_t hash, const struct tws_address *address, bool port)
{
	uint64_t words[2];

	memcpy(words, address->bytes, sizeof(words));
	hash = model_mix(hash, words[0]);
	hash = model_mix(hash, words[1]);
	hash =
	    model_mix(hash, (uint64_t)address->family << 16 | (port ? address->port : 0));
	return hash ? hash : 1;
}

uint64_t model_hash_address(const struct tws_address *address)
{
	return hash_end(14695981039346656037ULL, address, true);
}

struct usage {
	struct cookie_map pairs;   /* source address and destination -> ports in use */
	struct cookie_map highest; /* destination -> the highest of its pairs */
	struct cookie_map source;  /* destination -> key of that source address */
	struct cookie_map pools;   /* key of a source address -> ports in use */
	struct cookie_map ports;   /* of the pools: ports that were counted */
	bool pooled;		   /* some program binds before connect() */
};

bool model_binds_early(const struct model *model)
{
	const struct model_recent *recent;

	for (uint32_t i = 0; i < model->app_count; i++) {
		recent = &model->apps[i].recent;
		if (recent->early_bind || recent->open_early_bind ||
		    model->apps[i].counters.value[TWS_bind_failed_in_use])
			return true;
	}
	return false;
}

/* Never returns 0. The values of a map have 32 bits. */
static uint32_t key_of_source(const struct kernel_socket *socket)
{
	return (uint32_t)hash_end(1, &socket->local, false) | 1;
}

/* Several sockets, to different destinations, may share a port of a source address. */
static int count_in_pool(struct usage *usage, const struct kernel_socket *socket)
{
	uint32_t key = key_of_source(socket);
	int result =
	    cookie_map_add(&usage->ports, (uint64_t)key << 16 | socket->local.port, 0);

	if (result < 0 || cookie_map_add(&usage->pools, key, 0) < 0)
		return -ENOMEM;
	if (result == 0)
		++*cookie_map_find(&usage->pools, key);
	return 0;
}

/* The pair with this source address is the fullest to the destination so far. */
static int note_source(struct usage *usage, const struct kernel_socket *socket,
		       uint64_t destination)
{
	if (cookie_map_add(&usage->source, destination, 0) < 0)
		return -ENOMEM;
	*cookie_map_find(&usage->source, destination) = key_of_source(socket);
	return 0;
}

/* Adds one port to the pair, and keeps the destination's highest count. */
static int count_in_pair(struct usage *usage, const struct kernel_socket *socket)
{
	uint64_t destination = model_hash_address(&socket->remote);
	uint64_t pair = hash_end(destination, &socket->local, false);
	uint32_t *used, *most;

	if (cookie_map_add(&usage->pairs, pair, 0) < 0 ||
	    cookie_map_add(&usage->highest, destination, 0) < 0)
		return -ENOMEM;
	used = cookie_map_find(&usage->pairs, pair);
	most = cookie_map_find(&usage->highest, destination);
	if (++*used <= *most)
		return 0;
	*most = *used;
	return usage->pooled ? note_source(usage, socket, destination) : 0;
}

static int count_socket(struct usage *usage, const struct kernel_socket *socket)
{
	int result = count_in_pair(usage, socket);

	return result == 0 && usage->pooled ? count_in_pool(usage, socket) : result;
}

/* Whether most connections to the destination chose their port before connect(), out of
 * the pool of their source address. */
static bool is_pooled(const struct model_destination *destination)
{
	const struct model_recent *recent = &destination->recent;
	uint64_t early = recent->early_bind + recent->open_early_bind;

	return early && early * 2 >= recent->ended + recent->open;
}

static void show_ports(const struct model *model, struct model_app *app,
		       const struct usage *usage)
{
	struct model_destination *destination;
	const uint32_t *most;
	uint64_t hash;

	for (uint32_t i = 0; i < app->destination_count; i++) {
		destination = &app->destinations[i];
		destination->ports.range = model->ports.count;
		hash = model_hash_address(&destination->address);
		most = cookie_map_find(&usage->highest, hash);
		if (most && is_pooled(destination))
			most = cookie_map_find(&usage->pools,
					       *cookie_map_find(&usage->source, hash));
		if (most && destination->address.family)
			destination->ports.used = *most;
	}
}

static void free_usage(struct usage *usage)
{
	cookie_map_free(&usage->pairs);
	cookie_map_free(&usage->highest);
	cookie_map_free(&usage->source);
	cookie_map_free(&usage->pools);
	cookie_map_free(&usage->ports);
}

int model_count_ports(struct model *model)
{
	struct usage usage = {.pooled = model_binds_early(model)};
	const struct kernel_socket *socket;
	int result = 0;

	/* If only some states were read, the table does not show which ports are in use.
	 */
	if (model->options.states &&
	    !(model->options.states & KERNEL_STATE(TCP_ESTABLISHED)))
		return 0;
	for (size_t i = 0; result == 0 && i < model->table.count; i++) {
		socket = &model->table.sockets[i];
		if (socket->remote.port &&
		    kernel_ports_hold(&model->ports, socket->local.port))
			result = count_socket(&usage, socket);
	}
	for (uint32_t i = 0; result == 0 && i < model->app_count; i++)
		show_ports(model, &model->apps[i], &usage);
	free_usage(&usage);
	return result;
}
