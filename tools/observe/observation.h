/* SPDX-License-Identifier: MIT
 *
 * An observation under way: the publisher and the source that tells it, driven by one
 * descriptor. Beside a command, for some seconds, or until it is told to end.
 */
#ifndef TWS_TOOLS_OBSERVE_OBSERVATION_H
#define TWS_TOOLS_OBSERVE_OBSERVATION_H

#include "tools/observe/bpf.h"

struct observation {
	struct publisher *publisher;
	struct bpf_source *source;
	int events; /* epoll: the source, and the clock */
	int clock;
	uint64_t ticked_ns;
};

/* Begins to observe by BPF. 0, or -errno with a one-line reason. */
int observation_begin(struct observation *ret_observation,
		      const struct observe_scope *scope,
		      const struct publish_place *place, char *ret_error, size_t size);

/* The same of what this process starts from now on, beside a command. Files go into an
 * open directory; `also` is a descriptor that observation_fd() waits for too, or -1. */
int observation_begin_beside(struct observation *ret_observation, const int *directory,
			     int also);

/* Waits a little until what was closed has also ended. */
void observation_settle(struct observation *observation);

/* Two observers of one process would count it twice. Locks the main run-time directory
 * for observers: `alone` for one of the whole host; those of some processes go together.
 * A descriptor that holds it, or -EWOULDBLOCK, or -errno. */
int observation_lock(const char *main_directory, bool alone);

/* For poll(POLLIN), about every 50 ms. */
int observation_fd(const struct observation *observation);

/* Takes in what has happened. */
void observation_step(struct observation *observation);

/* The same, and forgets nobody. */
void observation_take(struct observation *observation);

/* Takes in the last of it, and ends it. What is published stays. */
void observation_end(struct observation *observation);

#endif
