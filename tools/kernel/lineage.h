/* SPDX-License-Identifier: MIT
 *
 * Which processes descend from which, and which were started with which run-time
 * directory, read from /proc.
 */
#ifndef TWS_TOOLS_LINEAGE_H
#define TWS_TOOLS_LINEAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Whether `pid` is a descendant of `ancestor`, as far as the processes between them
 * still live. */
bool lineage_descends(pid_t pid, pid_t ancestor);

/* `pid` and its descendants, up to `room` of them; returns how many. */
size_t lineage_family(pid_t pid, pid_t *ret_pids, size_t room);

/* The live processes whose environment says TWSHIM_DIR=`directory`, or a directory below
 * it; other users' can't be seen. Up to `room` of them in `ret_pids`; returns how many
 * there are. */
size_t lineage_of_directory(const char *directory, pid_t *ret_pids, size_t room);

/* The process's short name; "?" if it is gone. Returns `buffer`. */
const char *lineage_name(pid_t pid, char *buffer, size_t size);

#endif
