/* SPDX-License-Identifier: MIT
 *
 * Ends that nobody told. If the kernel did not run the program when a connection ended,
 * its closed socket lives on in a place or in the map, until the program meets another
 * socket in the same memory. What became of it is in the kernel's table, which keeps a
 * TIME_WAIT for a minute.
 */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "shim/shared/clock.h"
#include "tools/base/array.h"
#include "tools/observe/bpf.h"
#include "tools/observe/libbpf.h"
#include "tools/observe/namespace_table.h"

#define CLOSING_NS    1000000000u /* after that a missing end is looked for */
#define LONGEST_PAUSE 31	  /* ticks */
#define LAST_LOOKS    3
#define REPAIRED_MAX  65536 /* that an end may still be told of */

struct bpf_suspect {
	struct bpf_connection connection;
	bool gone;    /* its socket's memory is used again */
	bool decided; /* a table was read for it */
	bool missing; /* it was not in there */
	bool again;   /* it stays until the next look */
};

enum tws_ending bpf_repair_decide(const struct bpf_connection *connection,
				  const struct kernel_socket *socket, bool gone)
{
	if (socket && (socket->state == TCP_TIME_WAIT || gone))
		return TWS_END_LOCAL_FIN; /* TIME_WAIT may wait for the peer's FIN */
	if (socket)
		return TWS_END_NONE;
	if (!connection->established_ns)
		return TWS_END_ABANDONED;
	return connection->last_ack ? TWS_END_REMOTE_FIN : TWS_END_UNSEEN;
}

bool bpf_repair_has(const struct bpf_source *source, uint64_t cookie)
{
	return source->repaired.count && cookie_map_find(&source->repaired, cookie);
}

static bool suspect(struct bpf_source *source, const struct bpf_connection *connection,
		    bool gone)
{
	struct bpf_suspect *grown =
	    array_grow(source->suspects, source->suspect_count, sizeof(*grown));

	if (!grown)
		return false;
	source->suspects = grown;
	source->suspects[source->suspect_count++] =
	    (struct bpf_suspect){.connection = *connection, .gone = gone};
	return true;
}

bool bpf_repair_hold(struct bpf_source *source, const struct bpf_connection *event)
{
	return event->kind == BPF_EVENT_ENDED && event->ending == TWS_END_UNSEEN &&
	       !event->sought && !(event->flags & TWS_CONN_ADOPTED) &&
	       suspect(source, event, true);
}

struct repair {
	struct bpf_source *source;
	uint64_t before_ns;
};

static void see(const struct bpf_connection *connection, void *data)
{
	const struct repair *repair = data;

	if (connection->kind != BPF_EVENT_ENDED &&
	    publish_is_over(repair->source->publisher, connection->cookie,
			    repair->before_ns))
		suspect(repair->source, connection, false);
}

/* A dump may pass over a socket while its neighbours change: one that is missing is
 * looked for twice. */
static void decide_one(struct bpf_suspect *at, const struct kernel_table *table)
{
	const struct kernel_socket *socket =
	    kernel_table_find(table, at->connection.cookie);

	at->again = !socket && !at->missing;
	at->missing = !socket;
	at->connection.ending =
	    at->again ? TWS_END_NONE
		      : (uint8_t)bpf_repair_decide(&at->connection, socket, at->gone);
}

/* Decides for all of one network namespace. Without its table, those whose sockets are
 * gone stay what they are, and the others are left alone. */
static void decide(struct bpf_source *source, uint32_t net_namespace)
{
	struct kernel_table table = {0};
	pid_t pid = namespace_resident(net_namespace);
	bool known = pid && namespace_table_read(&table, pid, KERNEL_STATES_ALL) == 0;
	struct bpf_suspect *at;

	for (size_t i = 0; i < source->suspect_count; i++) {
		at = &source->suspects[i];
		if (at->connection.net_namespace != net_namespace)
			continue;
		at->decided = true;
		if (known)
			decide_one(at, &table);
		else if (!at->gone)
			at->connection.ending = TWS_END_NONE;
	}
	kernel_table_free(&table);
}

struct keeping {
	const struct cookie_map *all;
	struct cookie_map kept;
};

static void keep_placed(struct bpf_place *place, const struct bpf_connection *connection,
			void *data)
{
	struct keeping *keeping = data;

	(void)place;
	if (cookie_map_find(keeping->all, connection->cookie))
		cookie_map_add(&keeping->kept, connection->cookie, 0);
}

void bpf_repair_forget(struct bpf_source *source)
{
	struct keeping keeping = {.all = &source->repaired};

	bpf_map_places(source, keep_placed, &keeping);
	cookie_map_free(&source->repaired);
	source->repaired = keeping.kept;
}

/* Its end may have been told meanwhile. */
static void finish(struct bpf_source *source, const struct bpf_suspect *at)
{
	struct bpf_connection event = at->connection;

	if (event.ending == TWS_END_NONE ||
	    (!at->gone && !publish_open_of(source->publisher, event.cookie)))
		return;
	event.kind = BPF_EVENT_ENDED;
	event.sought = 1;
	event.time_wait = event.ending == TWS_END_LOCAL_FIN;
	event.ended_ns = tws_now();
	bpf_source_take(source, &event);
	source->found++;
	if (source->repaired.count >= REPAIRED_MAX)
		bpf_repair_forget(source);
	cookie_map_add(&source->repaired, event.cookie, 0);
	libbpf.bpf_map_delete_elem(source->connections, &event.cookie);
}

static void finish_all(struct bpf_source *source, size_t count)
{
	struct bpf_suspect *all = source->suspects;
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (!all[i].again) {
			finish(source, &all[i]);
			continue;
		}
		all[i].decided = all[i].again = false;
		all[kept++] = all[i];
	}
	memmove(all + kept, all + count, (source->suspect_count - count) * sizeof(*all));
	source->suspect_count -= count - kept;
}

/* A closed connection may wait long for its peer, and others are open for hours: as long
 * as nothing is found, each look is later than the one before, at most half a minute. */
static bool is_due(struct bpf_source *source, uint64_t before_ns)
{
	if (source->suspect_count)
		return true;
	if (!publish_is_over(source->publisher, 0, before_ns)) {
		source->repair_pause = 0;
		return false;
	}
	if (source->repair_wait) {
		source->repair_wait--;
		return false;
	}
	source->repair_pause = source->repair_pause < LONGEST_PAUSE
				   ? source->repair_pause * 2 + 1
				   : LONGEST_PAUSE;
	source->repair_wait = source->repair_pause;
	return true;
}

/* `before_ns`: see publish_is_over(); 0: only those that are suspects already. */
static void look_up(struct bpf_source *source, uint64_t before_ns)
{
	struct repair repair = {source, before_ns};
	uint64_t found = source->found;
	size_t count;

	if (before_ns)
		bpf_map_each(source, see, &repair);
	count = source->suspect_count;
	for (size_t i = 0; i < count; i++)
		if (!source->suspects[i].decided)
			decide(source, source->suspects[i].connection.net_namespace);
	bpf_source_look(source, CLOSING_NS);
	if (count)
		finish_all(source, count);
	if (source->found != found)
		source->repair_wait = source->repair_pause = 0;
}

void bpf_repair(struct bpf_source *source)
{
	uint64_t before_ns = tws_now() - CLOSING_NS;

	if (is_due(source, before_ns))
		look_up(source, before_ns);
}

void bpf_repair_all(struct bpf_source *source)
{
	for (int i = 0; i < LAST_LOOKS; i++)
		if (source->suspect_count ||
		    (i == 0 && publish_is_over(source->publisher, 0, UINT64_MAX)))
			look_up(source, i == 0 ? UINT64_MAX : 0);
}
