/* SPDX-License-Identifier: MIT
 *
 * The source of events that needs root: a BPF program on the kernel's TCP state
 * tracepoint. It sees every program of the host, including those that were already
 * running, and reports to the publisher.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_H
#define TWS_TOOLS_OBSERVE_BPF_H

#include "tools/base/map.h"
#include "tools/kernel/kernel.h"
#include "tools/observe/bpf_event.h"
#include "tools/observe/observed.h"
#include "tools/observe/publish.h"

/* What to observe. */
struct observe_scope {
	enum bpf_scope_kind kind;
	const pid_t
	    *pids; /* with PROCESSES: these processes, and what they fork from now on */
	size_t pid_count;
	const char *cgroup; /* with CGROUP: a directory of the unified hierarchy */
	/* Smaller than usual, so that a test can force losses; 0 means the usual size. */
	uint32_t ring_bytes, connections;
};

struct bpf_source;

/* An attempt that takes longer is shown while it goes on. */
#define BPF_CONNECTING_NS 100000000u

/* Loads and attaches the program. Returns 0, or -errno with a one-line reason and what
 * to use instead. */
int bpf_source_open(struct bpf_source **ret_source, const struct observe_scope *scope,
		    struct publisher *publisher, char *ret_error, size_t size);

/* A descriptor for poll(POLLIN). Events may also arrive without waking it, so read
 * every 50 ms. */
int bpf_source_fd(const struct bpf_source *source);

/* Processes the events that have arrived. */
void bpf_source_read(struct bpf_source *source);

/* Call this once per second. */
void bpf_source_tick(struct bpf_source *source);

/* Processes the events that have arrived, and counts also the attempts that go on. */
void bpf_source_read_all(struct bpf_source *source);

/* Finds the owners of connections that were open before. Their ends are counted as
 * adopted. Returns how many there are. */
size_t bpf_source_adopt(struct bpf_source *source, const struct observe_scope *scope);

/* Events that were lost, and what cannot be seen on this kernel. */
struct bpf_source_losses {
	uint64_t deferred; /* what the ring had no room for; found in the map */
	uint64_t lost;	   /* connections that the map had no room for: not counted */
	uint64_t found;	   /* ends that nobody told; looked up in the kernel's tables */
	bool no_early;	   /* attempts that fail before a SYN is sent are not seen */
};

struct bpf_source_losses bpf_source_losses(const struct bpf_source *source);

/* Calls `take` for every process that was seen, in any order, whether it is published
 * or left to the shim. */
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
	/* Shared with the kernel. */
	struct bpf_place *places;
	struct bpf_ended *ended;
	struct bpf_queue *queue;
	uint32_t ended_count;
	struct bpf_change *changes; /* see bpf_changes.c */
	size_t change_count;
	uint64_t deferred; /* as of the last look into the map */
	bool no_early;
	bool last_look;		/* what is not counted now may never be */
	uint64_t net_namespace; /* ours */
	/* Another one, and a process there; when one was looked for. */
	uint64_t other_namespace, other_looked_ns;
	pid_t other_resident;
	struct bpf_suspect *suspects; /* see bpf_repair.c */
	size_t suspect_count;
	struct cookie_map repaired;	    /* of late */
	uint64_t found;			    /* ends that were looked up */
	unsigned repair_wait, repair_pause; /* ticks */
};

/* bpf_events.c: a record from the ring; `data` is the source. Returns 0. */
int bpf_source_record(void *data, void *record, size_t size);

/* Counts a change of a connection. */
void bpf_source_take(struct bpf_source *source, const struct bpf_connection *event);

/* bpf_changes.c: notes how far a connection has come, and counts all changes that
 * happened before a moment in the order in which they did. Each may be noted more than
 * once. */
void bpf_changes_note(struct bpf_source *source, const struct bpf_connection *seen);
void bpf_changes_count(struct bpf_source *source, uint64_t before_ns);

/* bpf_queue.c: how many connections have ended so far; and notes those that have ended
 * until then, but for what is just being told. */
uint64_t bpf_queue_filled(const struct bpf_source *source);
void bpf_queue_read(struct bpf_source *source, uint64_t filled);

/* bpf_map.c: notes what the places hold, but for connections that began less than
 * `age_ns` ago and are not established; and what is in the map `connections`, if the ring
 * had no room for something. */
void bpf_map_look(struct bpf_source *source, uint64_t age_ns);

/* Looks for calls of connect() that failed without a SYN. */
/* Counts the calls that have not sent a SYN for so long, or whose process has ended: they
 * have failed. Returns how many others there are. */
unsigned bpf_map_calls(struct bpf_source *source, uint64_t age_ns);

/* Calls `take` for each connection that lives in a place. */
void bpf_map_places(const struct bpf_source *source,
		    void (*take)(struct bpf_place *place,
				 const struct bpf_connection *connection, void *data),
		    void *data);

/* Calls `take` for each connection that lives in a place or in the map. */
void bpf_map_each(const struct bpf_source *source,
		  void (*take)(const struct bpf_connection *connection, void *data),
		  void *data);

/* bpf_repair.c: looks in the kernel's tables for what became of connections whose ends
 * nobody told: those that are held, those that were closed more than a second ago, and
 * now and then those that are open for long.
 * Call this once per second. */
void bpf_repair(struct bpf_source *source);

/* The same at the end, for all that have not ended. */
void bpf_repair_all(struct bpf_source *source);

/* Holds an end that was not seen until then. False: it is to be counted now. */
bool bpf_repair_hold(struct bpf_source *source, const struct bpf_connection *event);

/* Whether its end was found in this way: what is told of it later is too late. */
bool bpf_repair_has(const struct bpf_source *source, uint64_t cookie);

/* Forgets whose ends were found, but for those that are still in their places: these
 * would be taken for new connections. */
void bpf_repair_forget(struct bpf_source *source);

/* How a connection ended that the table has as `socket`, or not (NULL). `gone`: its
 * socket is known to be gone, but for what is left in TIME_WAIT. Pure. */
enum tws_ending bpf_repair_decide(const struct bpf_connection *connection,
				  const struct kernel_socket *socket, bool gone);

/* bpf.c: reads what has arrived, and counts it. */
void bpf_source_look(struct bpf_source *source, uint64_t age_ns);

/* Returns the errno with which this network namespace cannot reach an address; 0 if it
 * is unknown. */
int bpf_map_route_error(const struct tws_address *to);

#endif
