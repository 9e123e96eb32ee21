/* SPDX-License-Identifier: MIT
 *
 * The option --dir: a run-time directory to read instead of the usual ones.
 */
#ifndef TWS_TOOLS_DIR_OPTION_H
#define TWS_TOOLS_DIR_OPTION_H

#include "tools/base/cli.h"

/* For cli_option.take, into a const char *. The first refuses a directory that does not
 * exist or that we may not read. The second is for a command that follows a directory
 * and finds one that is made later: it only prints that it waits for it. */
int dir_option_take(const struct cli_option *option, void *field);
int dir_option_take_future(const struct cli_option *option, void *field);

#define DIR_OPTION(request, field)                                                       \
	{                                                                                \
		"dir", 0, "DIR", "read this run-time directory", dir_option_take,        \
		    .offset = offsetof(request, field)                                   \
	}

/* Whether we can read the directory. 0, or the exit status after it has printed why not.
 */
int dir_option_check(const char *path);

/* Warns that a run-time directory has no room left. This is no reason to refuse: it may
 * have room later. */
void dir_option_warn_full(const char *directory);

#endif
