/* SPDX-License-Identifier: MIT
 *
 * Which of the three observers can see a program: the shim that is preloaded into it, BPF
 * in the kernel, a supervisor beside it. What a command will meet, and what a process
 * that runs meets now.
 */
#ifndef TWS_TOOLS_WAYS_H
#define TWS_TOOLS_WAYS_H

#include "shim/shared/segment.h"
#include "tools/launch/reach.h"

#define WAY_SIZE 320

struct way {
	bool sees;
	char how[WAY_SIZE]; /* a clause: how to use it, or why it can't */
};

struct ways_facts {
	const struct reach *reach;
	bool runs;	       /* it is a process */
	const char *no_attach; /* then: why twshim attach refuses it; NULL: it does not */
	bool now[TWS_OBSERVERS]; /* these have published for it, and it runs */
	const char *no_bpf;	 /* why this machine has none; NULL: it has */
	bool has_notify;	 /* the kernel has seccomp user notification */
};

/* Decides; `ret_ways` is indexed by enum tws_observer. Pure. */
void ways_decide(const struct ways_facts *facts, struct way ret_ways[TWS_OBSERVERS]);

/* The same with the facts of this machine. `process`: 0: it is a command. `now` as above;
 * NULL: none. */
void ways_find(const struct reach *reach, pid_t process, const bool now[TWS_OBSERVERS],
	       struct way ret_ways[TWS_OBSERVERS]);

/* What an observer is called in a sentence. */
const char *ways_name(unsigned observer);

#endif
