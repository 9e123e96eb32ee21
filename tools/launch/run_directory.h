/* SPDX-License-Identifier: MIT
 *
 * A run: a random tag that its processes carry (TWSHIM_RUN), and a directory that says
 * that it goes on and holds its policy. Root's is /run/twshim/run/TAG; another user's is
 * run-TAG in the user's place. The processes publish in the usual places of their users.
 * The directory is locked (flock) as long as its owner lives, in whatever pid namespace
 * that is; one without a lock and without processes is a dead run's, and the next command
 * removes it.
 */
#ifndef TWS_TOOLS_RUN_DIRECTORY_H
#define TWS_TOOLS_RUN_DIRECTORY_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "shim/shared/segment.h"

struct run_directory {
	uint8_t run[TWS_RUN_SIZE];
	char tag[TWS_RUN_TAG_SIZE];
	char main[PATH_MAX]; /* where this user's programs publish */
	char path[PATH_MAX];
	mode_t policy_mode; /* of its policy.ctl */
	int fd;		    /* open and locked; -1: there is none */
	int place;	    /* `main`, open; -1: there is none */
};

/* Makes a fresh run, and the places of all users where root does it. 0, or -errno with a
 * one-line reason and its cure. */
int run_directory_create(struct run_directory *ret_directory, char *ret_error,
			 size_t size);

/* The same with a tag that is given; takes over a directory of that run. `tag` is one:
 * see tws_run_parse(). */
int run_directory_name(struct run_directory *ret_directory, const char *tag,
		       char *ret_error, size_t size);

/* Only the place, without a run: opened, and made if need be. A descriptor, or -errno
 * with a one-line reason. */
int run_directory_open_place(char *ret_error, size_t size);

/* Whether a process of the run still publishes, or was started to. */
bool run_directory_is_used(const struct run_directory *directory);

/* Ends the run. Unless it is used or to be kept, its directory is removed: its totals are
 * then added to those of its applications. Also removes the directories of dead runs, and
 * folds what is due in the main directory. */
void run_directory_finish(struct run_directory *directory, bool keep);

/* Keeps the directory, without a process that owns it: for `twshim env`. */
void run_directory_leave(struct run_directory *directory);

/* Removes it, and what carries its tag in the place: nothing was run, or what was
 * observed is not to be kept. */
void run_directory_discard(struct run_directory *directory);

/* Removes the directories of dead runs in `main_path`, and root's. Errors are passed
 * over. */
void run_directory_sweep(const char *main_path);

#endif
