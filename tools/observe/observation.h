/* SPDX-License-Identifier: MIT
 *
 * A running observation: the publisher and the source of its events, driven by one
 * descriptor. It runs beside a command, for some seconds, or until it is told to end.
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

/* Begins to observe by BPF. Returns 0, or -errno with a one-line reason. */
int observation_begin(struct observation *ret_observation,
		      const struct observe_scope *scope,
		      const struct publish_place *place, char *ret_error, size_t size);

/* The same, but only for what this process starts from now on. observation_fd() also
 * waits for the descriptor `also` (-1: none). */
int observation_begin_beside(struct observation *ret_observation,
			     const struct publish_place *place, int also);

/* Waits briefly until the connections that were closed have also ended. */
void observation_settle(struct observation *observation);

/* Two observers of one process would count it twice. So this locks the main run-time
 * directory for observers: `alone` for an observer of the whole host, shared for
 * observers of single processes. Returns a descriptor that holds the lock;
 * -EWOULDBLOCK; or -errno. */
int observation_lock(const char *main_directory, bool alone);

/* A descriptor for poll(POLLIN), about every 50 ms. */
int observation_fd(const struct observation *observation);

/* Processes the events that have arrived. */
void observation_step(struct observation *observation);

/* The same, but forgets no process. */
void observation_take(struct observation *observation);

/* Processes the last events and ends the observation. Published files stay. */
void observation_end(struct observation *observation);

#endif
