/* SPDX-License-Identifier: MIT
 *
 * Names under which no program runs. The kernel runs a program under the name of its
 * file, not of a symbolic link to it (php leads to php8.2), and a script under the name
 * of its interpreter. A rule that names only a link or a script never matches.
 */
#ifndef TWS_TOOLS_POLICY_HOST_EXE_H
#define TWS_TOOLS_POLICY_HOST_EXE_H

#include <limits.h>
#include <stdbool.h>

#include "config/compile.h"

/* Where a name leads on this machine. */
struct host_exe {
	char name[PATH_MAX];	/* the file of that name */
	const char *what;	/* "is a symbolic link" */
	bool script;		/* then it may well start a program of that name */
	char runs_as[PATH_MAX]; /* the program's file */
};

/* Looks up a glob of match.exe: a path as it stands, a bare name in the directories of
 * PATH. Returns true if there are files of that name here, and none of them runs under a
 * name that the glob matches; `ret_exe` is then the first, a script only if all are. */
bool host_exe_misses(const char *glob, struct host_exe *ret_exe);

/* Adds a warning for each such glob of the policy. `source` is what the image was
 * compiled from. */
void host_exe_warn(const struct tws_policy_image *image, const struct tws_source *source,
		   struct tws_complaints *complaints);

#endif
