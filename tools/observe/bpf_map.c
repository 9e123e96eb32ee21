/* SPDX-License-Identifier: MIT
 *
 * Reads the kernel's maps for events that the ring did not deliver.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/kernel/kernel.h"
#include "tools/observe/bpf.h"
#include "tools/observe/libbpf.h"

#define BATCH	  512
#define SECOND_NS 1000000000ull

struct sweep {
	uint64_t keys[BATCH];
	struct bpf_connection values[BATCH];
};

/* Reads all entries of a map such as `connections`, several per call. */
static void
sweep(int map, void (*take)(uint64_t key, const struct bpf_connection *value, void *data),
      void *data)
{
	struct sweep *found = malloc(sizeof(*found));
	uint32_t next[2] = {0}, count;
	bool more = found != NULL, begun = false;

	while (more) {
		count = BATCH;
		more = libbpf.bpf_map_lookup_batch(map, begun ? next : NULL, next,
						   found->keys, found->values, &count,
						   NULL) == 0;
		if (!more && errno != ENOENT)
			break;
		begun = true;
		for (uint32_t i = 0; i < count; i++)
			take(found->keys[i], &found->values[i], data);
	}
	free(found);
}

void bpf_map_places(struct bpf_source *source,
		    void (*take)(uint32_t place, const struct bpf_connection *connection,
				 void *data),
		    void *data)
{
	uint32_t *keys = calloc(BPF_PLACES, sizeof(*keys)), next = 0, count = BPF_PLACES;
	struct bpf_place *found = calloc(BPF_PLACES, sizeof(*found));

	if (keys && found &&
	    libbpf.bpf_map_lookup_batch(source->places, NULL, &next, keys, found, &count,
					NULL) != 0 &&
	    errno != ENOENT)
		count = 0;
	for (uint32_t i = 0; keys && found && i < count; i++)
		if (found[i].owner && found[i].connection.kind)
			take(keys[i], &found[i].connection, data);
	free(keys);
	free(found);
}

/* An ended connection stays in a map only if the ring had no room for it. */
struct ended {
	bool in_place;
	uint32_t place;
	uint64_t cookie;
	struct bpf_connection connection;
};

struct look {
	struct bpf_source *source;
	struct ended *ended;
	size_t count, room;
};

static void keep_ended(struct look *look, const struct ended *ended)
{
	size_t room = look->room ? look->room * 2 : 64;
	struct ended *grown;

	if (look->count == look->room) {
		grown = reallocarray(look->ended, room, sizeof(*grown));
		if (!grown)
			return; /* it is found again at the next look */
		look->ended = grown;
		look->room = room;
	}
	look->ended[look->count++] = *ended;
}

static void see(struct look *look, const struct ended *seen)
{
	if (seen->connection.kind == BPF_EVENT_ENDED)
		keep_ended(look, seen);
	else
		bpf_source_take(look->source, &seen->connection);
}

static void see_connection(uint64_t key, const struct bpf_connection *value, void *data)
{
	const struct ended seen = {.cookie = key, .connection = *value};

	see(data, &seen);
}

static void see_place(uint32_t place, const struct bpf_connection *value, void *data)
{
	const struct ended seen = {
	    .in_place = true, .place = place, .connection = *value};

	see(data, &seen);
}

static void take_ended(struct bpf_source *source, const struct ended *ended)
{
	static const struct bpf_place none;

	bpf_source_take(source, &ended->connection);
	if (ended->in_place)
		libbpf.bpf_map_update_elem(source->places, &ended->place, &none, 0);
	else
		libbpf.bpf_map_delete_elem(source->connections, &ended->cookie);
}

/* The ring may still hold earlier records of what has ended by now, and may soon tell the
 * end of what lives. So what lives is taken before the ring is read again, and what has
 * ended is taken after it: otherwise either would begin once more. */
void bpf_map_catch_up(struct bpf_source *source)
{
	struct bpf_source_losses losses = bpf_source_losses(source);
	struct look look = {.source = source};

	if (losses.deferred == source->deferred)
		return;
	source->deferred = losses.deferred;
	bpf_map_places(source, see_place, &look);
	sweep(source->connections, see_connection, &look);
	libbpf.ring_buffer__consume(source->ring);
	for (size_t i = 0; i < look.count; i++)
		take_ended(source, &look.ended[i]);
	free(look.ended);
}

/* A connection that is soon established is told then. */
struct connecting {
	struct bpf_source *source;
	uint64_t before_ns;
};

static void take_connecting(uint32_t place, const struct bpf_connection *connection,
			    void *data)
{
	const struct connecting *connecting = data;

	(void)place;
	if (connection->kind == BPF_EVENT_BEGUN &&
	    connection->began_ns <= connecting->before_ns)
		bpf_source_take(connecting->source, connection);
}

void bpf_map_connecting(struct bpf_source *source, uint64_t age_ns)
{
	struct connecting connecting = {source, tws_now() - age_ns};

	bpf_map_places(source, take_connecting, &connecting);
}

/* ---------------------------------------------------------- calls without a SYN */

/* The socket does not hold the reason why connect() failed. connect() on a UDP socket
 * fails for the same reasons, if they are reasons of the network, and sends nothing.
 * Returns 0 for any other reason. */
int bpf_map_route_error(const struct tws_address *to)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(to->port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(to->port)};
	bool ipv6 = to->family == TWS_IPV6;
	int error = 0;
	int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	memcpy(&in.sin_addr, to->bytes, sizeof(in.sin_addr));
	memcpy(&in6.sin6_addr, to->bytes, sizeof(in6.sin6_addr));
	if (ipv6 ? connect(fd, (struct sockaddr *)&in6, sizeof(in6))
		 : connect(fd, (struct sockaddr *)&in, sizeof(in)))
		error = errno;
	close(fd);
	return error;
}

void bpf_map_calls(struct bpf_source *source)
{
	static const struct bpf_call none;
	struct bpf_call call;

	for (uint32_t i = 0; !source->no_early && i < BPF_CALLS; i++) {
		if (libbpf.bpf_map_lookup_elem(source->calls, &i, &call) != 0 ||
		    !call.thread || tws_now() - call.connection.began_ns < SECOND_NS)
			continue;
		libbpf.bpf_map_update_elem(source->calls, &i, &none, 0);
		bpf_source_take(source, &call.connection);
	}
}
