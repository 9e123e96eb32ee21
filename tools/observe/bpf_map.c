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

#define BATCH 512

struct sweep {
	uint64_t keys[BATCH];
	struct bpf_connection values[BATCH];
};

/* Reads all entries of the map `connections`, several per call. */
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

/* False: it has left its place, or is not complete yet. Whoever has left is told by the
 * ring. */
static bool copy_of(const struct bpf_place *place, struct bpf_connection *ret_connection)
{
	uint64_t owner = __atomic_load_n(&place->owner, __ATOMIC_ACQUIRE);
	uint32_t kind;

	if (!owner)
		return false;
	do {
		kind = __atomic_load_n(&place->connection.kind, __ATOMIC_ACQUIRE);
		*ret_connection = place->connection;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!kind || __atomic_load_n(&place->owner, __ATOMIC_RELAXED) != owner ||
		    __atomic_load_n(&place->connection.cookie, __ATOMIC_RELAXED) !=
			ret_connection->cookie)
			return false;
	} while (__atomic_load_n(&place->connection.kind, __ATOMIC_RELAXED) != kind);
	ret_connection->kind = kind;
	return true;
}

void bpf_map_places(const struct bpf_source *source,
		    void (*take)(struct bpf_place *place,
				 const struct bpf_connection *connection, void *data),
		    void *data)
{
	struct bpf_connection connection;

	for (uint32_t i = 0; i < BPF_PLACES; i++)
		if (copy_of(&source->places[i], &connection))
			take(&source->places[i], &connection, data);
}

struct look {
	struct bpf_source *source;
	uint64_t before_ns;
};

/* Whether nothing has happened since an earlier look. */
static bool is_known(const struct bpf_source *source,
		     const struct bpf_connection *connection)
{
	const struct open_connection *open =
	    publish_open_of(source->publisher, connection->cookie);

	if (bpf_repair_has(source, connection->cookie))
		return true;
	if (!open || connection->kind == BPF_EVENT_ENDED)
		return false;
	return connection->kind == BPF_EVENT_BEGUN ||
	       (open->established_ns && (open->closed_ns || !connection->closed_ns));
}

static void see_place(struct bpf_place *place, const struct bpf_connection *connection,
		      void *data)
{
	const struct look *look = data;

	if (is_known(look->source, connection) ||
	    (connection->kind == BPF_EVENT_BEGUN &&
	     connection->began_ns > look->before_ns))
		return;
	bpf_changes_note(look->source, connection);
	if (connection->kind != BPF_EVENT_ENDED)
		return;
	place->connection.kind = 0;
	__atomic_store_n(&place->owner, 0, __ATOMIC_RELEASE);
}

/* An ended connection stays in a map only if the ring had no room for it. */
static void see_connection(uint64_t key, const struct bpf_connection *connection,
			   void *data)
{
	const struct look *look = data;

	bpf_changes_note(look->source, connection);
	if (connection->kind == BPF_EVENT_ENDED)
		libbpf.bpf_map_delete_elem(look->source->connections, &key);
}

void bpf_map_look(struct bpf_source *source, uint64_t age_ns)
{
	struct bpf_source_losses losses = bpf_source_losses(source);
	struct look look = {source, tws_now() - age_ns};

	bpf_map_places(source, see_place, &look);
	if (losses.deferred == source->deferred)
		return;
	source->deferred = losses.deferred;
	sweep(source->connections, see_connection, &look);
}

struct each {
	void (*take)(const struct bpf_connection *connection, void *data);
	void *data;
};

static void take_place(struct bpf_place *place, const struct bpf_connection *connection,
		       void *data)
{
	const struct each *each = data;

	(void)place;
	each->take(connection, each->data);
}

static void take_connection(uint64_t key, const struct bpf_connection *connection,
			    void *data)
{
	(void)key;
	take_place(NULL, connection, data);
}

void bpf_map_each(const struct bpf_source *source,
		  void (*take)(const struct bpf_connection *connection, void *data),
		  void *data)
{
	struct each each = {take, data};

	bpf_map_places(source, take_place, &each);
	sweep(source->connections, take_connection, &each);
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

static bool still_runs(const struct bpf_source *source, const struct bpf_process *process)
{
	const struct observed *observed = observed_find(&source->observed, process);

	return !observed || observed_is_there(observed);
}

unsigned bpf_map_calls(struct bpf_source *source, uint64_t age_ns)
{
	static const struct bpf_call none;
	struct bpf_call call;
	unsigned younger = 0;

	for (uint32_t i = 0; !source->no_early && i < BPF_CALLS; i++) {
		if (libbpf.bpf_map_lookup_elem(source->calls, &i, &call) != 0 ||
		    !call.thread)
			continue;
		if (tws_now() - call.connection.began_ns < age_ns &&
		    still_runs(source, &call.connection.process)) {
			younger++;
			continue;
		}
		libbpf.bpf_map_update_elem(source->calls, &i, &none, 0);
		bpf_source_take(source, &call.connection);
	}
	return younger;
}
