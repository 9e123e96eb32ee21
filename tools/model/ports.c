/* SPDX-License-Identifier: MIT
 *
 * How many local ports are in use to each destination, by all processes together. A port
 * is in use for a pair of source address and destination, so the source address that uses
 * most ports decides.
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

/* Adds one port to the pair, and keeps the destination's highest count. */
static int count_port(struct cookie_map *pairs, struct cookie_map *highest,
		      const struct kernel_socket *socket)
{
	uint64_t destination = model_hash_address(&socket->remote);
	uint64_t pair = hash_end(destination, &socket->local, false);
	uint32_t *used, *most;

	if (cookie_map_add(pairs, pair, 0) < 0 ||
	    cookie_map_add(highest, destination, 0) < 0)
		return -ENOMEM;
	used = cookie_map_find(pairs, pair);
	most = cookie_map_find(highest, destination);
	if (++*used > *most)
		*most = *used;
	return 0;
}

static void show_ports(const struct model *model, struct model_app *app,
		       const struct cookie_map *highest)
{
	struct model_destination *destination;
	const uint32_t *most;

	for (uint32_t i = 0; i < app->destination_count; i++) {
		destination = &app->destinations[i];
		most =
		    cookie_map_find(highest, model_hash_address(&destination->address));
		destination->ports.range = model->ports.count;
		if (most && destination->address.family)
			destination->ports.used = *most;
	}
}

int model_count_ports(struct model *model)
{
	struct cookie_map pairs = {0}, highest = {0};
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
			result = count_port(&pairs, &highest, socket);
	}
	for (uint32_t i = 0; result == 0 && i < model->app_count; i++)
		show_ports(model, &model->apps[i], &highest);
	cookie_map_free(&pairs);
	cookie_map_free(&highest);
	return result;
}
