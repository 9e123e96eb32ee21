/* SPDX-License-Identifier: MIT
 *
 * A file that is written completely or not at all: it is opened early, so that a wrong
 * path is reported before the work begins, and renamed into place when it is complete. A
 * path that is not a regular file (a terminal, /dev/null, a pipe) is written directly.
 */
#ifndef TWS_TOOLS_OUTPUT_H
#define TWS_TOOLS_OUTPUT_H

#include <stdio.h>

struct output {
	FILE *file;
	char *path;	 /* to be replaced; NULL: written directly */
	char *temporary; /* until then */
};

/* Opens `path` ("-": standard output). An existing file keeps its mode. Returns 0, or
 * -errno. */
int output_open(struct output *ret_output, const char *path);

/* Closes the file and puts it in place. Returns 0, or -errno, and then an existing file
 * is unchanged. */
int output_commit(struct output *output);

/* Closes the file and leaves an existing one unchanged. Does nothing after a commit. */
void output_abandon(struct output *output);

#endif
