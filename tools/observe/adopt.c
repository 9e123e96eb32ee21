/* SPDX-License-Identifier: MIT
 *
 * Connections that were open before the observation began. The program in the kernel
 * does not know their owners, so it is told. They are found once, in /proc and by
 * sock_diag, in every network namespace that contains a process.
 */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/base/map.h"
#include "tools/kernel/descriptors.h"
#include "tools/kernel/kernel.h"
#include "tools/kernel/proc_file.h"
#include "tools/kernel/process.h"
#include "tools/observe/bpf.h"
#include "tools/observe/cgroup.h"
#include "tools/observe/libbpf.h"
#include "tools/observe/namespace_table.h"

#define NAMESPACES 256
#define NO_EXIST   1 /* from bpf(2) */
#define TICK_NS	   10000000ull

/* The states of sockets that may belong to a client and have a descriptor. */
#define STATES                                                                           \
	(KERNEL_STATES_ALL & ~KERNEL_STATE(TCP_TIME_WAIT) & ~KERNEL_STATE(TCP_CLOSE))

struct place {
	uint64_t net_namespace;
	pid_t pid; /* a process in this namespace */
	struct kernel_table table;
	uint8_t listening[65536 / 8];
};

struct adoption {
	struct bpf_source *source;
	const struct observe_scope *scope;
	struct place *places;
	size_t place_count;
	struct cookie_map by_inode; /* place << 24 | index in its table */
	struct cookie_map known;    /* have begun since the observation did */
	pid_t pid;		    /* the process whose descriptors are read */
	size_t adopted;
};

#define PLACE_SHIFT 24

/* -------------------------------------------------------------------- namespaces */

static int note_place(pid_t pid, void *data)
{
	struct adoption *adoption = data;
	uint64_t net_namespace = namespace_of(pid);

	if (!net_namespace || adoption->place_count == NAMESPACES)
		return 0;
	for (size_t i = 0; i < adoption->place_count; i++)
		if (adoption->places[i].net_namespace == net_namespace)
			return 0;
	adoption->places[adoption->place_count].net_namespace = net_namespace;
	adoption->places[adoption->place_count++].pid = pid;
	return 0;
}

static void read_tables(const struct adoption *adoption)
{
	struct place *place;

	for (size_t i = 0; i < adoption->place_count; i++) {
		place = &adoption->places[i];
		kernel_table_free(&place->table);
		namespace_table_read(&place->table, place->pid, STATES);
	}
}

/* ------------------------------------------------------------------------- sockets */

static bool is_listening(const struct place *place, uint16_t port)
{
	return place->listening[port / 8] & 1u << port % 8;
}

/* Accepted connections belong to a server: connect() never takes a port that is
 * listened on. */
static void index_place(struct adoption *adoption, size_t index)
{
	struct place *place = &adoption->places[index];
	const struct kernel_socket *socket;

	for (size_t i = 0; i < place->table.count; i++) {
		socket = &place->table.sockets[i];
		if (socket->state == TCP_LISTEN)
			place->listening[socket->local.port / 8] |=
			    (uint8_t)(1u << socket->local.port % 8);
	}
	for (size_t i = 0; i < place->table.count && i < 1u << PLACE_SHIFT; i++) {
		socket = &place->table.sockets[i];
		if (socket->inode && socket->state != TCP_LISTEN &&
		    !is_listening(place, socket->local.port))
			cookie_map_add(&adoption->by_inode, socket->inode,
				       (uint32_t)(index << PLACE_SHIFT | i));
	}
}

static int adopt_socket(uint64_t inode, void *data)
{
	struct adoption *adoption = data;
	const uint32_t *found = cookie_map_find(&adoption->by_inode, inode);
	const struct kernel_socket *socket;
	struct bpf_connection connection = {.kind = BPF_EVENT_ESTABLISHED,
					    .established_ns = 1,
					    .flags = TWS_CONN_ADOPTED};
	const struct place *place;
	struct observed *observed;

	if (!found)
		return 0;
	place = &adoption->places[*found >> PLACE_SHIFT];
	socket = &place->table.sockets[*found & ((1u << PLACE_SHIFT) - 1)];
	if (cookie_map_find(&adoption->known, socket->cookie))
		return 0;
	connection.process = (struct bpf_process){
	    .tgid = (uint32_t)adoption->pid,
	    .start_ns = process_start_time(adoption->pid) * TICK_NS,
	    .image = BPF_IMAGE_UNKNOWN,
	};
	connection.net_namespace = (uint32_t)place->net_namespace;
	connection.cookie = socket->cookie;
	connection.began_ns = tws_now();
	connection.remote = socket->remote;
	connection.local = socket->local;
	if (libbpf.bpf_map_update_elem(adoption->source->connections, &socket->cookie,
				       &connection, NO_EXIST) != 0)
		return 0;
	adoption->adopted++;
	observed = observed_meet(&adoption->source->observed, &connection.process,
				 connection.net_namespace);
	if (observed)
		observed->adopted++;
	return 0;
}

static void note_known(struct bpf_place *place, const struct bpf_connection *connection,
		       void *data)
{
	struct adoption *adoption = data;

	(void)place;
	cookie_map_add(&adoption->known, connection->cookie, 0);
}

static bool is_in_scope(const struct adoption *adoption, pid_t pid)
{
	const struct observe_scope *scope = adoption->scope;

	if (scope->kind == BPF_SCOPE_CGROUP)
		return cgroup_has(scope->cgroup, pid);
	if (scope->kind == BPF_SCOPE_ALL)
		return true;
	for (size_t i = 0; i < scope->pid_count; i++)
		if (scope->pids[i] == pid)
			return true;
	return false;
}

static int adopt_of(pid_t pid, void *data)
{
	struct adoption *adoption = data;

	adoption->pid = pid;
	if (pid != getpid() && is_in_scope(adoption, pid))
		descriptors_each_socket(NULL, pid, adopt_socket, adoption);
	return 0;
}

/* A connection that ended between the look and this call would be waited for in vain.
 * If it has ended since, its entry was deleted by its end. */
static void take_back(struct adoption *adoption)
{
	struct kernel_table *before = calloc(adoption->place_count + 1, sizeof(*before));
	struct place *place;
	uint64_t cookie;

	for (size_t p = 0; before && p < adoption->place_count; p++) {
		before[p] = adoption->places[p].table;
		adoption->places[p].table = (struct kernel_table){0};
	}
	if (before)
		read_tables(adoption);
	for (size_t p = 0; before && p < adoption->place_count; p++) {
		place = &adoption->places[p];
		for (size_t i = 0; i < before[p].count; i++) {
			cookie = before[p].sockets[i].cookie;
			if (!kernel_table_find(&place->table, cookie))
				libbpf.bpf_map_delete_elem(adoption->source->connections,
							   &cookie);
		}
		kernel_table_free(&before[p]);
	}
	free(before);
}

size_t bpf_source_adopt(struct bpf_source *source, const struct observe_scope *scope)
{
	struct adoption adoption = {.source = source, .scope = scope};

	adoption.places = calloc(NAMESPACES, sizeof(*adoption.places));
	if (!adoption.places)
		return 0;
	proc_each(note_place, &adoption);
	read_tables(&adoption);
	bpf_map_places(source, note_known, &adoption);
	for (size_t i = 0; i < adoption.place_count; i++)
		index_place(&adoption, i);
	proc_each(adopt_of, &adoption);
	take_back(&adoption);
	for (size_t i = 0; i < adoption.place_count; i++)
		kernel_table_free(&adoption.places[i].table);
	cookie_map_free(&adoption.by_inode);
	cookie_map_free(&adoption.known);
	free(adoption.places);
	return adoption.adopted;
}
