/* SPDX-License-Identifier: MIT
 *
 * The supervisor of a command: a process that observes, without privilege, the programs
 * that hand their connect() calls over at its door (door.h). It outlives whoever started
 * it as long as one of them lives, is in a session of its own, and has a keeper
 * (keeper.h), so that none of them is ever held up for long.
 */
#ifndef TWS_TOOLS_OBSERVE_SUPERVISOR_H
#define TWS_TOOLS_OBSERVE_SUPERVISOR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tools/observe/call.h"

struct supervisor {
	pid_t pid;
	int pidfd; /* -1: it is apart */
	int control;
	struct supervisor_counts
	    *counts; /* shared; of the end after supervisor_finish() */
};

struct supervisor_setup {
	int directory;	    /* open; its door is there; -1: it has none */
	int client;	    /* an end of a socket pair: a program at its door; or -1 */
	int place;	    /* open; where it publishes */
	const uint8_t *run; /* that all belongs to; NULL: to none */
	/* A netlink socket of who starts it, for kernel_set_listening() as soon as the
	 * shim counts a call of a program below it; or -1. */
	int netlink;
	/* What it carries out; NULL: nothing. It needs not stay. `policy_key`:
	 * tws_policy_key(). */
	const struct tws_policy_image *policy;
	uint64_t policy_key;
};

/* Starts one, after a child has tried whether the filter can be put on at all; to be
 * called with one thread. 0, or -errno with a one-line reason. */
int supervisor_start(struct supervisor *ret_supervisor,
		     const struct supervisor_setup *setup, char *ret_error, size_t size);

/* The same for a process that becomes another program, which must not find a child that
 * it does not know: the supervisor is none of its children. It ends with what has handed
 * itself over when `control` is closed. */
int supervisor_start_apart(struct supervisor *ret_supervisor,
			   const struct supervisor_setup *setup, char *ret_error,
			   size_t size);

enum supervisor_end {
	SUPERVISOR_ENDED,
	SUPERVISOR_STAYS, /* programs that it observes still run */
	SUPERVISOR_DEAD,  /* it was killed: its counts may lack something */
};

/* Waits a little until what was closed has ended too, and ends it. */
enum supervisor_end supervisor_finish(struct supervisor *supervisor);

/* Ends it if that was not done, and lets go. */
void supervisor_release(struct supervisor *supervisor);

#endif
