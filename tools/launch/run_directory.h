/* SPDX-License-Identifier: MIT
 *
 * The directory of one `twshim run`, "run-PID-XXXXXX" below the main run-time directory.
 * It is locked (flock) as long as its owner lives, in whatever pid namespace that is; one
 * without a lock and without processes is a dead run's, and whoever comes by clears it.
 */
#ifndef TWS_TOOLS_RUN_DIRECTORY_H
#define TWS_TOOLS_RUN_DIRECTORY_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct run_directory {
	char main[PATH_MAX]; /* the main run-time directory */
	char path[PATH_MAX];
	int fd; /* open and locked; -1: there is none */
};

/* Finds the main directory (made if need be) and makes a fresh one below it. 0, or -errno
 * with a one-line reason and its cure. */
int run_directory_create(struct run_directory *ret_directory, char *ret_error,
			 size_t size);

/* Whether a process still publishes in it, or was started to. */
bool run_directory_is_used(const struct run_directory *directory);

/* Ends it. Unless it is used or to be kept, what its processes left goes up into the main
 * directory (where it is found for the time of its TIME_WAIT sockets), and it is removed.
 * Also clears dead runs' directories and folds what is due in the main one. */
void run_directory_finish(struct run_directory *directory, bool keep);

/* Removes it, with what is in it: nothing was run. */
void run_directory_discard(struct run_directory *directory);

/* Clears dead runs' directories below `main_path`. Errors are passed over. */
void run_directory_sweep(const char *main_path);

#endif
