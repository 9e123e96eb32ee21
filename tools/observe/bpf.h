/* SPDX-License-Identifier: MIT
 *
 * The source of events that needs root: a BPF program on the kernel's TCP state
 * tracepoint, which sees every program of the host, also those that were running already.
 * It tells the publisher.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_H
#define TWS_TOOLS_OBSERVE_BPF_H

#include "tools/observe/bpf_event.h"
#include "tools/observe/observed.h"
#include "tools/observe/publish.h"

/* What to observe. */
struct observe_scope {
	enum bpf_scope_kind kind;
	const pid_t *pids; /* with PROCESSES: these, and what they fork from now on */
	size_t pid_count;
	const char *cgroup; /* with CGROUP: a directory of the unified hierarchy */
	/* Smaller than usual, so that a test can force losses; 0: the usual. */
	uint32_t ring_bytes, connections;
};

struct bpf_source;

/* Loads and attaches. 0, or -errno with a one-line reason and what to use instead. */
int bpf_source_open(struct bpf_source **ret_source, const struct observe_scope *scope,
		    struct publisher *publisher, char *ret_error, size_t size);

/* For poll(POLLIN); what is there may also come without, so read every 50 ms. */
int bpf_source_fd(const struct bpf_source *source);

/* Takes in what has happened. */
void bpf_source_read(struct bpf_source *source);

/* Once a second, after a read. */
void bpf_source_tick(struct bpf_source *source);

/* Learns whose the connections are that were open before: their ends are counted as
 * adopted. How many. */
size_t bpf_source_adopt(struct bpf_source *source, const struct observe_scope *scope);

/* What was lost, and what cannot be seen here. */
struct bpf_source_losses {
	uint64_t deferred; /* records that the ring had no room for; found in the map */
	uint64_t lost;	   /* connections that the map had no room for: not counted */
	bool no_early;	   /* attempts that fail before a SYN is sent are not seen */
};

struct bpf_source_losses bpf_source_losses(const struct bpf_source *source);

/* Every process that was seen, in no order: published or left to the shim. */
void bpf_source_each(const struct bpf_source *source,
		     void (*take)(const struct observed *observed, void *data),
		     void *data);

void bpf_source_close(struct bpf_source *source);

/* -------- used among the parts of the source */

struct bpf_source {
	struct publisher *publisher;
	struct observed_table observed;
	struct bpf_object *object;
	struct bpf_link *links[6];
	size_t link_count;
	struct ring_buffer *ring;
	int connections, processes, scoped, calls, losses; /* maps */
	uint64_t deferred; /* as of the last look into the map */
	bool no_early;
	uint64_t net_namespace; /* ours */
};

/* An event about a connection, from the ring or the map. */
void bpf_source_take(struct bpf_source *source, const struct bpf_connection *event);

/* bpf_map.c: looks into the map for what the ring had no room for, and for calls of
 * connect() that came to nothing. */
void bpf_map_catch_up(struct bpf_source *source);
void bpf_map_calls(struct bpf_source *source);

/* Why this network namespace cannot reach an address, errno; 0: it is not known. */
int bpf_map_route_error(const struct tws_address *to);

#endif
