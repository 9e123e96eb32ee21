/* SPDX-License-Identifier: MIT
 *
 * Publishes what an observer sees of other processes: one ordinary segment per process,
 * written on its behalf, so that every reader works unchanged. This layer does not know
 * where the events come from. It is for one thread. Every event may be reported more
 * than once, and a later event of a connection makes up for earlier ones that were lost.
 */
#ifndef TWS_TOOLS_OBSERVE_PUBLISH_H
#define TWS_TOOLS_OBSERVE_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/shared/segment.h"
#include "tools/observe/open_table.h"

/* The process that owns the connections. */
struct publish_subject {
	uint64_t pid_namespace; /* inode */
	uint64_t net_namespace;
	uint64_t start_time; /* clock ticks since boot */
	uint32_t pid;	     /* in its own namespace */
	pid_t host_pid;	     /* in ours; 0: it cannot be seen */
	uint32_t uid;
	char exe[TWS_EXE_SIZE];
	struct tws_names names;
};

/* What a policy of the observer's decided for a connection as it began. */
struct publish_decision {
	uint16_t rule; /* 1 + index in the policy; 0: none */
	uint8_t arm;   /* likewise in its experiment */
	bool matched;  /* and in the sample */
	bool stopped;  /* the rule is off: its breaker has tripped */
	bool applied, kept_app_option, unsupported, would_apply;
	struct close_plan plan;
};

/* What is known about a connection. */
struct publish_connection {
	uint64_t cookie;	 /* not 0 */
	uint64_t began_ns;	 /* CLOCK_MONOTONIC */
	uint64_t established_ns; /* 0: not established, or not yet */
	uint64_t closed_ns;	 /* when its program closed it; 0: unknown */
	uint64_t ended_ns;
	uint64_t bytes_sent, bytes_received;
	uint8_t
	    state_at_close; /* enum tcp_state, at a close that was seen; 0: none was */
	struct tws_address remote, local;
	uint32_t flags; /* enum tws_conn_flag */
	enum tws_ending ending;
	enum tws_counter failure; /* with TWS_END_FAILED */
	bool time_wait;		  /* its TIME_WAIT stays here */
	bool rough;		  /* established_ns is about right */
	/* 1 + the number of the descriptor that it begins on; 0: not known. It is told by
	 * a source that sees no close: a connection that begins on the descriptor of
	 * another proves that the other was closed. */
	uint32_t descriptor;
	const struct publish_decision *decision; /* NULL: none */
};

/* Returns where files go, by the user of the process: an open directory, which remains
 * the property of the callee; or -errno. */
struct publish_place {
	int (*directory)(void *data, uint32_t uid);
	void *data;
	const uint8_t *run; /* the run that all belong to; NULL: none */
};

/* `directory` of a place that is one open directory, which `data` points to. */
int publish_in_one(void *data, uint32_t uid);

struct tws_policy_image;
struct publisher;
struct published; /* one process's segment */

/* 0 or -ENOMEM. */
int publisher_open(struct publisher **ret_publisher, enum tws_observer source,
		   const struct publish_place *place);

/* Ends publishing. The files stay, and say that nobody writes to them any more. */
void publisher_close(struct publisher *publisher);

/* Returns where the segments of a user's processes go, or -errno. */
int publish_directory(struct publisher *publisher, uint32_t uid);

/* Returns the run that all belong to; all 0: none. */
const uint8_t *publish_run(const struct publisher *publisher);

/* Begins the segment of a process. NULL: no memory, or no place for it. */
struct published *publish_process(struct publisher *publisher,
				  const struct publish_subject *subject);

/* Returns the process of a segment. */
const struct publish_subject *publish_subject_of(const struct published *published);

/* Calls `take` with each destination and the attempts to connect to it. */
void publish_each_destination(const struct published *published,
			      void (*take)(const struct tws_address *to,
					   uint64_t attempts, void *data),
			      void *data);

/* Call this when another process has its pid, or another program runs in it: no
 * connection will begin here any more. */
void publish_replaced(struct published *published);

/* Returns the owner of a connection that was reported before and has not ended, or
 * NULL. */
struct published *publish_find(const struct publisher *publisher, uint64_t cookie);

/* The same connection's entry; good until the next change. NULL. */
struct open_connection *publish_open_of(const struct publisher *publisher,
					uint64_t cookie);

/* The kernel says that it goes elsewhere than was said when it began. */
void publish_moved(struct open_connection *open, const struct tws_address *remote);

/* Folds in a process of its own from now on, because this one may not be held up. */
void publish_fold_beside(struct publisher *publisher, void (*prepare_child)(void *data),
			 void *data);

/* The policy that acts on what is published from now on; it stays the caller's. `key`:
 * tws_policy_key(); `followed`: the layers that are followed, as bits. */
void publish_set_policy(struct publisher *publisher, const struct tws_policy_image *image,
			uint64_t key, uint32_t followed);

/* A connection falls to a rule of the policy. False: its breaker has tripped. */
bool publish_matched(struct published *published, uint16_t rule);

void publish_unobserved(struct published *published, uint64_t count);

/* Returns its entry, good until the next change. NULL: no memory. */
struct open_connection *publish_begun(struct published *published,
				      const struct publish_connection *connection);

void publish_established(struct published *published,
			 const struct publish_connection *connection);
/* Its program has closed the connection. It is no longer open, but how it ended is not
 * known yet. */
void publish_closed(struct publisher *publisher, uint64_t cookie, uint64_t closed_ns);

void publish_ended(struct published *published,
		   const struct publish_connection *connection);

/* The end of a connection that was open before the observation began: counted as
 * adopted, never as opened. */
void publish_adopted(struct published *published,
		     const struct publish_connection *connection);

/* Whether a connection has not ended, and its end may have been missed: its program
 * closed it before, or is dead, or it began half a minute earlier. Cookie 0: whether
 * there is one of this kind. */
bool publish_is_over(const struct publisher *publisher, uint64_t cookie,
		     uint64_t before_ns);

/* Counts the connections for which `gone` returns true as ended unseen. */
void publish_unseen(struct publisher *publisher,
		    bool (*gone)(void *data, uint64_t cookie), void *data);

/* Call this before the last events are read, and publish_tick() after them: a process
 * that was alive then may have done more. */
void publish_note_dead(struct publisher *publisher);

/* Call this once per second. It releases processes that were noted as dead and have no
 * open connection, and folds what is due. */
void publish_tick(struct publisher *publisher);

/* Called for each process that is released; it must not be used afterwards. */
void publish_on_forgotten(struct publisher *publisher,
			  void (*forgotten)(void *data, struct published *published),
			  void *data);

/* Counts for the progress line, and of what was not published. */
struct publish_counts {
	uint64_t processes;
	uint64_t attempts, established, ended;
	uint64_t refused; /* processes that could not be published */
};

const struct publish_counts *publish_counts(const struct publisher *publisher);

#endif
