/* SPDX-License-Identifier: MIT
 *
 * Publishes what an observer sees of other processes: one ordinary segment per process,
 * written on its behalf, so that every reader works unchanged. Knows nothing of where the
 * events come from. For one thread; every event may be told more than once, and a
 * connection's later event makes up for earlier ones that were lost.
 */
#ifndef TWS_TOOLS_OBSERVE_PUBLISH_H
#define TWS_TOOLS_OBSERVE_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/shared/segment.h"

/* Whose connections they are. */
struct publish_subject {
	uint64_t pid_namespace; /* inode */
	uint64_t net_namespace;
	uint64_t start_time; /* clock ticks since boot */
	uint32_t pid;	     /* in its own namespace */
	pid_t host_pid;	     /* in ours; 0: it cannot be seen */
	uint32_t uid;
	char exe[TWS_EXE_SIZE];
};

/* A connection as far as it is known. */
struct publish_connection {
	uint64_t cookie;	 /* not 0 */
	uint64_t began_ns;	 /* CLOCK_MONOTONIC */
	uint64_t established_ns; /* 0: it was not, or not yet */
	uint64_t closed_ns;	 /* by its program; 0: it is not known */
	uint64_t ended_ns;
	uint64_t bytes_sent, bytes_received;
	struct tws_address remote, local;
	uint32_t flags; /* enum tws_conn_flag */
	enum tws_ending ending;
	enum tws_counter failure; /* with TWS_END_FAILED */
	bool time_wait;		  /* its TIME_WAIT stays here */
};

/* Where files go, by the user whose process it is: an open directory, which stays the
 * place's own; or -errno. */
struct publish_place {
	int (*directory)(void *data, uint32_t uid);
	void *data;
};

struct publisher;
struct published; /* one process's segment */

/* 0 or -ENOMEM. */
int publisher_open(struct publisher **ret_publisher, enum tws_observer source,
		   const struct publish_place *place);

/* Ends it: files stay, and say from now on that nobody writes to them. */
void publisher_close(struct publisher *publisher);

/* Where the segments of a user's processes go, or -errno. */
int publish_directory(struct publisher *publisher, uint32_t uid);

/* Begins a process's segment. NULL: there is no memory or no place for it. */
struct published *publish_process(struct publisher *publisher,
				  const struct publish_subject *subject);

/* Whose it is. */
const struct publish_subject *publish_subject_of(const struct published *published);

/* Calls `take` with each destination and the attempts to connect to it. */
void publish_each_destination(const struct published *published,
			      void (*take)(const struct tws_address *to,
					   uint64_t attempts, void *data),
			      void *data);

/* Another process has its pid now, or another program runs in it: no connection will
 * begin here any more. */
void publish_replaced(struct published *published);

/* Whose connection it is, where it was told before and has not ended; NULL. */
struct published *publish_find(const struct publisher *publisher, uint64_t cookie);

void publish_begun(struct published *published,
		   const struct publish_connection *connection);
void publish_established(struct published *published,
			 const struct publish_connection *connection);
/* Its program has closed it: it is not open any more, and how it ends is to come. */
void publish_closed(struct publisher *publisher, uint64_t cookie, uint64_t closed_ns);

void publish_ended(struct published *published,
		   const struct publish_connection *connection);

/* The end of one that was open before anybody observed: counted as adopted, never as
 * opened. */
void publish_adopted(struct published *published,
		     const struct publish_connection *connection);

/* The connections for which `gone` says so have ended in a way that nobody saw. */
void publish_unseen(struct publisher *publisher,
		    bool (*gone)(void *data, uint64_t cookie), void *data);

/* Once a second: lets go of processes that are dead and have nothing open, and folds what
 * is due. */
void publish_tick(struct publisher *publisher);

/* Is told of each that is let go, and must not use it any more. */
void publish_on_forgotten(struct publisher *publisher,
			  void (*forgotten)(void *data, struct published *published),
			  void *data);

/* For progress, and for what was not published. */
struct publish_counts {
	uint64_t processes;
	uint64_t attempts, established, ended;
	uint64_t refused; /* processes that could not be published */
};

const struct publish_counts *publish_counts(const struct publisher *publisher);

#endif
