/* SPDX-License-Identifier: MIT
 *
 * The supervisor's process. Part of supervisor.h.
 */
#ifndef TWS_TOOLS_OBSERVE_SUPERVISE_H
#define TWS_TOOLS_OBSERVE_SUPERVISE_H

#include "tools/observe/supervisor.h"

/* The first message over `control`, from it. */
struct supervise_ready {
	pid_t pid; /* its own; 0: it does not work, and has ended */
	char why[160];
};

/* What is said then: one byte each. */
#define SUPERVISE_FINISH 'f' /* to it; likewise the end of the connection */
#define SUPERVISE_ENDS	 'e' /* its answers */
#define SUPERVISE_STAYS	 's'

struct supervise_setup {
	struct supervisor_setup setup;
	int control;
	struct supervisor_counts *counts;
};

/* Becomes the supervisor, in a child that was just forked. */
void supervise(const struct supervise_setup *setup) __attribute__((noreturn));

#endif
