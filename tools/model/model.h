/* SPDX-License-Identifier: MIT
 *
 * Everything that is known, in one structure that all commands read: applications with
 * their processes and destinations, from the segments; the kernel's sockets, each with
 * its owner; totals. It is built once and then only read. The identities in
 * tools/model/join.h hold in every set of counters.
 */
#ifndef TWS_TOOLS_MODEL_H
#define TWS_TOOLS_MODEL_H

#include <sys/types.h>
#include <time.h>

#include "shim/shared/segment.h"
#include "tools/kernel/kernel.h"
#include "tools/segments/reader.h"

#define MODEL_TIME_WAIT_NS 60000000000ULL /* the kernel's constant */
#define MODEL_NOBODY	   UINT32_MAX
#define MODEL_DESTINATIONS 4096 /* per application; further ones go to `other` */

/* Sockets that an application left in TIME_WAIT. */
struct model_time_wait {
	uint64_t predicted; /* connections that ended in the last 60 s in a way that
			       leaves TIME_WAIT here */
	uint64_t confirmed; /* TIME_WAIT sockets of these in the kernel's table */
	uint64_t pending; /* closed here, in FIN_WAIT, CLOSING, or (MPTCP) ESTABLISHED */
	uint64_t gone_early; /* missing in the table: the peer reset after our close, the
				port was reused, or tcp_max_tw_buckets was reached */
	uint32_t oldest_leaves_ms; /* of the confirmed sockets; 0 if there are none */
	uint32_t newest_leaves_ms;
};

struct model_ports {
	uint32_t used;	/* ports of the range in use to this destination, in any state and
			   by any process, counted for the source address that uses most */
	uint32_t range; /* local ports that connect() may choose from; 0: not known */
};

/* The last minute, as far back as the rings go; the true numbers may be higher. */
struct model_recent {
	uint64_t ended; /* all that ended, failed connects included */
	uint64_t ending[TWS_END_FAILED + 1]; /* by enum tws_ending */
	uint64_t no_port;		     /* EADDRNOTAVAIL, EADDRINUSE */
	uint64_t short_lived;
	uint64_t early_bind;  /* bound to port 0 before connect() */
	uint64_t port_ring;   /* bound by the policy to a port of its port_ring */
	uint64_t reuseaddr;   /* the program's own SO_REUSEADDR */
	uint64_t linger_time; /* the program's own SO_LINGER {1,n} */
	uint64_t bound;	      /* by the program, to any port */
	uint64_t fixed_port;  /* bound by the program to a port that it chose */
	uint64_t mptcp;
	uint64_t late_close;	    /* closed first, and in TIME_WAIT before close() */
	uint64_t fin_reset;	    /* a policy set TCP_LINGER2 = -1 */
	uint64_t fin_reset_left;    /* ... and TIME_WAIT remains all the same */
	uint64_t port_range;	    /* a policy set IP_LOCAL_PORT_RANGE */
	uint64_t port_ring_outside; /* ... to a port that connect() cannot choose, as far
				      as the kernel still shows it */
	/* Open now. */
	uint64_t open;
	uint64_t open_early_bind;
	uint64_t open_port_ring;
	/* Of processes that live or ended within the minute. */
	uint64_t bind_failed;	     /* EADDRINUSE, of processes younger than a minute */
	uint64_t deepbind_processes; /* that loaded libraries with RTLD_DEEPBIND */
};

struct model_destination {
	struct tws_address address; /* family 0: `other` */
	struct tws_counters counters;
	struct model_time_wait time_wait;
	struct model_ports ports;
	struct model_recent recent;
	uint32_t next; /* next with the same hash; UINT32_MAX: none */
};

struct join_verdict;

struct model_app {
	char *exe;  /* path of the executable; where several are grouped, of one */
	char *name; /* see group.h */
	/* The names that all its processes share; "" where they differ. */
	struct tws_names names;
	uint32_t uid; /* of one of its users */
	bool several_users;
	uint64_t since_realtime_ns; /* when the first of its processes began to be
				       counted; 0: not known */
	bool named;		    /* the fields above are set */
	uint32_t
	    latest;  /* process that began last; MODEL_NOBODY: known from totals only */
	bool hidden; /* not selected: owns sockets, and is in no total */
	uint64_t processes;
	uint64_t alive;			  /* if unknown, a process counts as alive */
	uint64_t observed[TWS_OBSERVERS]; /* of `processes`, by who observed them */
	uint32_t short_lived_ms;
	bool detail; /* all its processes counted bytes */
	struct tws_counters counters;
	struct model_time_wait time_wait;
	struct model_recent recent;
	/* Processes that began and ended within ten seconds: see storm.h. */
	struct {
		uint64_t processes, connections;
		uint64_t since_ns; /* CLOCK_MONOTONIC; when the first of them began */
	} storm;
	struct model_destination *destinations;
	uint32_t destination_count;
	uint32_t *order; /* destinations, most attempts first; see model_finish */
	struct cookie_map by_address; /* hash -> index */
	uint32_t next;
};

struct model_process {
	pid_t pid; /* in its own namespace */
	uint64_t start_time;
	uint32_t app;
	uint32_t image;
	uint32_t uid;
	pid_t parent; /* in its own namespace; 0: not known */
	bool is_here; /* its namespace is ours */
	enum process_life life;
	uint32_t observer; /* enum tws_observer */
	uint64_t created_realtime_ns;
	uint64_t last_event_ns; /* CLOCK_MONOTONIC */
	struct tws_counters counters;
	uint64_t time_wait; /* confirmed TIME_WAIT sockets */
	double rate; /* connections begun per second, recently; 0 for a dead process */
};

struct model_arm {
	char experiment[TWS_NAME_SIZE];
	char name[TWS_NAME_SIZE];
	uint32_t place; /* in the policy, which orders the arms */
	uint32_t weight;
	uint64_t time_wait; /* in the kernel's table now, as far back as the rings go */
	struct tws_counters counters;
	/* The time from the experiment's first connection to its last, as far back as the
	 * rings of its processes go, and how many connections of this arm were
	 * established within it. 0, 0: not known. */
	double seconds;
	uint64_t opened;
	/* used only while building: when connections began, and since when none is
	 * missing */
	uint64_t *begun_ns;
	uint32_t begun_count;
	uint64_t known_since_ns;
};

/* A rule of the policy, summed over all processes that have it. */
struct model_rule {
	char name[TWS_NAME_SIZE];
	uint64_t matched; /* of all processes that are known one by one */
	uint64_t applied;
	uint64_t failed;   /* of those that matched: connect() failed */
	uint64_t open;	   /* still open */
	uint64_t needless; /* ended without TIME_WAIT, whatever a policy does */
	uint64_t killed; /* closed by a kill, which leaves TIME_WAIT: a rule that acts in
			    close() could not act */
	bool closes;	 /* it acted on how connections close, or was to */
	uint64_t time_wait; /* of its connections, in TIME_WAIT in the kernel's table */
	uint64_t processes;
	uint64_t stopped;     /* processes in which its stop_if has tripped */
	uint32_t stopped_why; /* enum tws_stop_reason, from one of them */
};

/* The owner of a socket in the kernel's table. */
struct model_owner {
	uint32_t app; /* MODEL_NOBODY: unowned */
	uint32_t destination;
	uint32_t process; /* MODEL_NOBODY: known from folded totals only */
	uint32_t uid;	  /* the user whose segment claims it */
	bool disputed;	  /* two users claim it, and neither is root or us; it counts as
			     unowned */
};

struct model_options {
	const char *dir;    /* NULL: the main run-time directory */
	bool only_dir;	    /* without the directories below it */
	const uint8_t *run; /* only processes of this run; NULL: of all */
	const char *app;    /* name or path; NULL: all */
	pid_t pid;	    /* 0: all */
	int by;		    /* enum model_by */
	const struct kernel_listener *listener;
	uint32_t states; /* states of the kernel's sockets to read; 0: all */
	/* Find out only who owns the sockets. The rings of endings are long and are not
	 * read, so nothing is known about the last minute. Not allowed with a cache. */
	bool owners_only;
	/* Leave out processes of other network namespaces: our kernel table says nothing
	 * about them. Does nothing where the table can't be read. */
	bool here_only;
	struct reader_cache *cache; /* for a caller that reads repeatedly; NULL: none */
	/* CLOCK_MONOTONIC: what was counted before is left out, to the slice of time in
	 * which this lies; 0: nothing is. See window.h. */
	uint64_t since_ns;
	bool from_reset;       /* what the reader's `twshim reset` left out is left out */
	struct baseline *keep; /* keeps what is taken; NULL: nobody does */
};

struct model {
	struct model_options options;
	time_t generated;
	uint64_t since_realtime_ns; /* the earliest of the applications that count */
	struct {
		uint32_t slice; /* the first that counts; 0: all that is known counts */
		uint64_t since_realtime_ns; /* when it begins */
		struct baseline *baseline;  /* what is older, at a reset; else NULL */
		uint64_t older;		    /* attempts that were left out */
		/* Attempts of processes that do not know how many of theirs are older:
		 * the numbers are "at most". The earliest began then, and is called so.
		 */
		uint64_t doubtful, doubtful_since_ns;
		char doubtful_app[64];
	} window;

	struct model_app *apps;
	uint32_t app_count;
	uint32_t *order; /* apps not hidden, most attempts first */
	uint32_t order_count;
	struct cookie_map by_name;
	struct model_process *processes;
	uint32_t process_count;
	struct model_arm *arms;
	uint32_t arm_count;
	struct model_rule *rules; /* of processes that are known one by one */
	uint32_t rule_count;
	struct tws_counters total; /* of all applications that are not hidden */
	struct model_time_wait time_wait;

	bool has_table;
	char table_error[160]; /* why there is no table */
	uint64_t table_ns;     /* CLOCK_MONOTONIC just before the table was read */
	uint64_t net_namespace;
	uint64_t pid_namespace; /* ours */
	struct kernel_ports ports;
	unsigned time_wait_reuse; /* see kernel_time_wait_reuse() */
	struct kernel_table table;
	struct model_owner *owners; /* one per socket of the table */
	struct {
		uint64_t time_wait; /* in the whole network namespace */
		uint64_t owned;
		uint64_t incoming; /* see model_is_incoming() */
		uint64_t unowned;  /* the rest */
	} kernel;
	uint8_t listening[65536 / 8]; /* one bit per local port; see
					 model_has_listener() */
	/* Read only if sockets are gone early: how many TIME_WAIT sockets the kernel has
	 * dropped in this network namespace because tcp_max_tw_buckets was reached, and
	 * that limit. */
	uint64_t overflowed, buckets;

	uint64_t disputed;		/* sockets claimed by more than one user */
	uint64_t other_namespace;	/* processes in another network namespace, now or
					   in the last minute */
	uint64_t other_namespace_alive; /* of these */
	uint64_t listener_lost;
	struct reader_skipped *skipped; /* moved from the reader */
	size_t skipped_count;
};

/* Reads the directory and the kernel's table and joins them. If the directory does not
 * exist, the model is empty; if the kernel refuses, table_error says why. Returns 0, or
 * -errno with a reason of one line. */
int model_build(struct model **ret_model, const struct model_options *options,
		char *ret_error, size_t size);

void model_free(struct model *model);

/* -------- the steps of model_build, for saved segments and tables */

/* Returns NULL if out of memory. */
struct model *model_new(const struct model_options *options);

/* Gives the model a table, which was read at `now_ns`, and empties *table. Returns 0 or
 * -ENOMEM. */
int model_use_table(struct model *model, struct kernel_table *table, uint64_t now_ns,
		    uint64_t net_namespace);

/* Adds one segment; a reader_taker. Returns 0 or -ENOMEM. */
int model_take(struct segment *segment, void *model);

/* Computes totals, ports and owners after the last segment. Returns 0 or -ENOMEM. */
int model_finish(struct model *model);

/* -------- used among the model's own files */

/* Return the application or destination, made if it is new; `other` if there are too many
 * destinations. On error, NULL is returned (out of memory). The pointer is valid until
 * the next one is made. */
struct model_app *model_app(struct model *model, const struct tws_header *header,
			    bool hidden);
/* The group of that process, which is not made. NULL: there is none. */
struct model_app *model_find(struct model *model, const struct tws_header *header);
struct model_destination *model_destination(struct model_app *app,
					    const struct tws_address *address);

/* Notes the listening sockets of the model's table; model_use_table() does so. */
void model_note_listeners(struct model *model);

/* Whether somebody listens on the local port now, at any address. connect() never chooses
 * such a port, so connections that have it came in there. If the table was read without
 * LISTEN, this is always false. */
bool model_has_listener(const struct model *model, uint16_t port);

/* Whether the socket at this index of the table is an incoming connection of a living
 * listener: it is no known application's, and it has no unknown owner either. */
bool model_is_incoming(const struct model *model, size_t index);

/* Decides how the connections of a dead process ended, and counts that in our copy of the
 * segment. */
void model_settle(struct model *model, struct segment *segment);

/* Decides about one slot of the segment, as model_settle() does, and counts nothing.
 * False: the slot has no connection, or one whose ending the process itself recorded. */
bool model_judge(struct model *model, struct segment *segment, uint32_t index,
		 struct join_verdict *ret_verdict);

/* Finds the segment's sockets in the kernel's table. `indexes` maps the segment's
 * destinations to the application's; `process` is MODEL_NOBODY for totals. Returns 0 or
 * -ENOMEM. */
int model_join_time_wait(struct model *model, const struct segment *segment, uint32_t app,
			 const uint32_t *indexes, uint32_t process);

/* Adds what the segment recorded in the last minute. Parameters as above. */
void model_note_recent(struct model *model, const struct segment *segment, uint32_t app,
		       const uint32_t *indexes, uint32_t process);

/* Keeps the earlier of two times, where 0 is not known. */
static inline void model_keep_earlier(uint64_t *time, uint64_t other)
{
	if (other && (!*time || other < *time))
		*time = other;
}

/* Takes one more word into a hash. */
static inline uint64_t model_mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

/* Never returns 0. */
uint64_t model_hash_address(const struct tws_address *address);

/* Adds the results of the policy's rules in a process. Returns 0 or -ENOMEM. */
int model_note_rules(struct model *model, struct segment *segment);

/* Adds the segment's arms. Returns 0 or -ENOMEM. */
int model_add_arms(struct model *model, struct segment *segment);

/* Computes how fast the arms opened connections, after the last segment. */
void model_finish_arms(struct model *model);

/* Whether a program chose, or tried to choose, a port before connect(). */
bool model_binds_early(const struct model *model);

/* Counts the ports in use to each destination. Returns 0 or -ENOMEM. */
int model_count_ports(struct model *model);

#endif
