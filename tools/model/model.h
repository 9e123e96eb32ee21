/* SPDX-License-Identifier: MIT
 *
 * What is known, as one structure that every command looks at: applications with their
 * processes and destinations, from the segments; the kernel's sockets, each with its
 * owner; totals. Built once, then only read. The identities of tools/model/join.h hold in
 * every set of counters in it.
 */
#ifndef TWS_TOOLS_MODEL_H
#define TWS_TOOLS_MODEL_H

#include <sys/types.h>
#include <time.h>

#include "shim/shared/segment.h"
#include "tools/kernel/kernel.h"
#include "tools/segments/reader.h"

#define MODEL_TIME_WAIT_NS 60000000000ULL /* a constant of the kernel */
#define MODEL_DESTINATIONS 4096		  /* of one application; more go to `other` */

/* Sockets that an application left in TIME_WAIT. */
struct model_time_wait {
	uint64_t predicted;  /* ended here in the last 60 s so that TIME_WAIT stays */
	uint64_t confirmed;  /* of those, in TIME_WAIT in the kernel's table */
	uint64_t pending;    /* in FIN_WAIT or CLOSING: on the way */
	uint64_t gone_early; /* not in the table: the peer reset after our close, the port
				was taken over, or tcp_max_tw_buckets was reached */
	uint32_t oldest_leaves_ms; /* of the confirmed; 0 if there are none */
	uint32_t newest_leaves_ms;
};

struct model_ports {
	uint32_t used;	/* of the range, in use to this destination, in any state and by
			   anybody, from the address that uses most */
	uint32_t range; /* local ports that connect() may choose from; 0: not known */
};

/* Of the last minute, as far as the rings go back: at least as many. */
struct model_recent {
	uint64_t ended;			     /* and came to nothing */
	uint64_t ending[TWS_END_FAILED + 1]; /* by enum tws_ending */
	uint64_t no_port;		     /* EADDRNOTAVAIL, EADDRINUSE */
	uint64_t short_lived;
	uint64_t early_bind;  /* to port 0, before connect() */
	uint64_t port_ring;   /* policy: to a port of its port_ring */
	uint64_t reuseaddr;   /* the program's own SO_REUSEADDR */
	uint64_t linger_time; /* ... SO_LINGER {1,n} */
};

struct model_destination {
	struct tws_address address; /* family 0: `other` */
	struct tws_counters counters;
	struct model_time_wait time_wait;
	struct model_ports ports;
	struct model_recent recent;
	uint32_t next; /* same hash; UINT32_MAX none */
};

struct model_app {
	char *exe;	  /* path of the executable */
	const char *name; /* its last component */
	bool hidden;	  /* not asked for: owns sockets, and is in no total */
	uint64_t processes;
	uint64_t alive; /* of those; unknown counts as alive */
	uint32_t short_lived_ms;
	bool detail; /* bytes were counted in all its processes */
	struct tws_counters counters;
	struct model_time_wait time_wait;
	struct model_recent recent;
	struct model_destination *destinations;
	uint32_t destination_count;
	uint32_t destination_room;
	uint32_t *order; /* destinations, most attempts first; see model_finish */
	struct cookie_map by_address; /* hash -> index */
	uint32_t next;
};

struct model_process {
	pid_t pid; /* in its own namespace */
	uint64_t start_time;
	uint32_t app;
	uint32_t image;
	enum process_life life;
	uint64_t created_realtime_ns;
	uint64_t last_event_ns; /* CLOCK_MONOTONIC */
	struct tws_counters counters;
	uint64_t time_wait; /* confirmed */
	double rate;	    /* connections begun a second, of late; 0 for the dead */
};

struct model_arm {
	char experiment[TWS_NAME_SIZE];
	char name[TWS_NAME_SIZE];
	uint32_t place; /* in the policy; the arms of an experiment are in this order */
	uint32_t weight;
	uint64_t time_wait; /* confirmed by the kernel, of the processes' last endings */
	struct tws_counters counters;
	/* From the experiment's first connection to its last, as far back as the rings
	 * of its processes go: how long, and how many of this arm were established of
	 * those that began in it. 0, 0: not known. */
	double seconds;
	uint64_t opened;
	/* the model's own: when they began, and since when none is missing */
	uint64_t *begun_ns;
	uint32_t begun_count, begun_room;
	uint64_t known_since_ns;
};

/* A rule of the policy, over all processes that have it. */
struct model_rule {
	char name[TWS_NAME_SIZE];
	uint64_t matched;
	uint64_t applied;
	uint64_t processes;
	uint64_t stopped;     /* processes in which its stop_if has tripped */
	uint32_t stopped_why; /* enum tws_stop_reason, of one of them */
};

#define MODEL_NOBODY UINT32_MAX

/* Whose a socket of the kernel's table is. */
struct model_owner {
	uint32_t app; /* MODEL_NOBODY: unowned */
	uint32_t destination;
	uint32_t process; /* MODEL_NOBODY: of totals */
	uint32_t uid;	  /* whose word it is */
	bool disputed;	  /* two users claim it, and neither is root or us: unowned */
};

struct model_options {
	const char *dir; /* NULL: the main run-time directory */
	bool only_dir;
	const char *app; /* name or path; NULL: all */
	pid_t pid;	 /* 0: all */
	const struct kernel_listener *listener;
	uint32_t states; /* of the kernel's sockets; 0: all but LISTEN */
	/* Whose the sockets are, and no more: the rings of endings, which are long, are
	 * not read, so nothing is known of the last minute. Not with a cache. */
	bool owners_only;
	struct reader_cache *cache; /* of who reads again and again; NULL: none */
};

struct model {
	struct model_options options;
	time_t generated;

	struct model_app *apps;
	uint32_t app_count;
	uint32_t app_room;
	uint32_t *order; /* apps not hidden, most attempts first */
	uint32_t order_count;
	struct cookie_map by_exe;
	struct model_process *processes;
	uint32_t process_count;
	uint32_t process_room;
	struct model_arm *arms;
	uint32_t arm_count;
	struct model_rule *rules; /* of processes that live */
	uint32_t rule_count;
	struct tws_counters total; /* of the apps not hidden */
	struct model_time_wait time_wait;

	bool has_table;
	char table_error[160]; /* why there is none */
	uint64_t table_ns;     /* CLOCK_MONOTONIC just before it was read */
	uint64_t net_namespace;
	struct kernel_ports ports;
	unsigned time_wait_reuse; /* see kernel_time_wait_reuse() */
	struct kernel_table table;
	struct model_owner *owners; /* one a socket of the table */
	struct {
		uint64_t time_wait; /* of the whole network namespace */
		uint64_t owned;
		uint64_t unowned;
	} kernel;
	/* Where sockets are gone early: TIME_WAIT sockets that this network namespace did
	 * not make for want of buckets, ever, and how many buckets it has. */
	uint64_t overflowed, buckets;

	uint64_t disputed;	  /* sockets that more than one user claims */
	uint64_t other_namespace; /* segments of processes in another network namespace */
	uint64_t listener_lost;
	struct reader_skipped *skipped; /* moved from the reader */
	size_t skipped_count;
};

/* Reads the directory and the kernel and joins them. A directory that does not exist is
 * an empty model; a kernel that refuses leaves a reason in table_error. 0, or -errno with
 * a one-line reason. */
int model_build(struct model **ret_model, const struct model_options *options,
		char *ret_error, size_t size);

void model_free(struct model *model);

/* -------- the steps of model_build, for saved segments and tables */

/* NULL: out of memory. */
struct model *model_new(const struct model_options *options);

/* Gives the model a table (moved) that was read at `now_ns`. 0 or -ENOMEM. */
int model_use_table(struct model *model, struct kernel_table *table, uint64_t now_ns,
		    uint64_t net_namespace);

/* Takes in one segment; a reader_taker. 0 or -ENOMEM. */
int model_take(struct segment *segment, void *model);

/* Totals, ports, owners, once all segments are in. 0 or -ENOMEM. */
int model_finish(struct model *model);

/* -------- used among the model's own files */

/* The application or destination, made if need be; `other` if there are too many. NULL:
 * out of memory. The pointer is good until the next is made. */
struct model_app *model_app(struct model *model, const char *exe, bool hidden);
struct model_destination *model_destination(struct model_app *app,
					    const struct tws_address *address);

/* Settles what a dead process could not say, in the segment's own counters. */
void model_settle(const struct model *model, struct segment *segment);

/* Finds the segment's sockets in the kernel's table. `indexes`: for each destination of
 * the segment, its place in the application; `process` MODEL_NOBODY for totals. 0 or
 * -ENOMEM. */
int model_join_time_wait(struct model *model, const struct segment *segment, uint32_t app,
			 const uint32_t *indexes, uint32_t process);

/* Adds the segment's last minute. `process` as below. */
void model_note_recent(struct model *model, const struct segment *segment, uint32_t app,
		       const uint32_t *indexes, uint32_t process);

/* Takes one more word into a hash. */
static inline uint64_t model_mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

/* Never 0. */
uint64_t model_hash_address(const struct tws_address *address);

/* Adds what became of the policy's rules in a live process. 0 or -ENOMEM. */
int model_note_rules(struct model *model, const struct segment *segment);

/* Adds the segment's arms. 0 or -ENOMEM. */
int model_add_arms(struct model *model, struct segment *segment);

/* How fast the arms opened connections, once all segments are in. */
void model_finish_arms(struct model *model);

/* How many ports are in use, to each destination. 0 or -ENOMEM. */
int model_count_ports(struct model *model);

#endif
