/* SPDX-License-Identifier: MIT
 *
 * A file that is written whole or not at all: opened early, so that a bad path is known
 * before the work begins, and put in place by rename when it is done. What is no regular
 * file (a terminal, /dev/null, a pipe) is written as it comes.
 */
#ifndef TWS_TOOLS_OUTPUT_H
#define TWS_TOOLS_OUTPUT_H

#include <stdio.h>

struct output {
	FILE *file;
	char *path;	 /* to be replaced; NULL: written as it comes */
	char *temporary; /* until then */
};

/* Opens `path` ("-": standard output). A file that exists keeps its mode. 0, or -errno.
 */
int output_open(struct output *ret_output, const char *path);

/* Closes the file and puts it in place. 0, or -errno with what was there before. */
int output_commit(struct output *output);

/* Closes the file; what was there before stays. Harmless after a commit. */
void output_abandon(struct output *output);

#endif
