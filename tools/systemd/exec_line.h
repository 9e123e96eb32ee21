/* SPDX-License-Identifier: MIT
 *
 * A command of ExecStart=, taken apart so that twshim exec can be put before it and the
 * program finds everything as it was. See systemd.service(5), "Command lines". Pure.
 */
#ifndef TWS_TOOLS_EXEC_LINE_H
#define TWS_TOOLS_EXEC_LINE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct exec_line {
	char prefixes[16];   /* as "-:+", without the "@" */
	bool renamed;	     /* there is an "@", and `name` is the program's argv[0] */
	char path[PATH_MAX]; /* the program: unquoted, its specifiers not expanded */
	/* As they are written, with quotes, specifiers and variables. */
	const char *name, *arguments;
	size_t name_length, arguments_length;
};

/* Takes the next command of a line; a word ";" ends one. 1, 0 where there is none, or
 * -errno: it is not one that systemd would accept. */
int exec_line_next(const char **at, struct exec_line *ret_line);

/* Why nothing can be put before the command: a clause. NULL: it can. */
const char *exec_line_refuses(const struct exec_line *line);

struct exec_line_front {
	const char *twshim;
	const char *policy; /* path of its file; NULL: none */
	const char *found;  /* the program's path where PATH had to be searched; NULL */
};

/* Writes "ExecStart=..." with twshim exec before the command. */
void exec_line_write(FILE *out, const struct exec_line *line,
		     const struct exec_line_front *front);

#endif
