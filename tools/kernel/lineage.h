/* SPDX-License-Identifier: MIT
 *
 * Who descends from whom, and who was started in which run: from /proc.
 */
#ifndef TWS_TOOLS_LINEAGE_H
#define TWS_TOOLS_LINEAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The process's parent; 0: there is none, or it is not known. */
pid_t lineage_parent(pid_t pid);

/* Whether `pid` is a descendant of `ancestor`, as far as the processes between them
 * still live. */
bool lineage_descends(pid_t pid, pid_t ancestor);

/* `pid` and its descendants, up to `room` of them; returns how many. */
size_t lineage_family(pid_t pid, pid_t *ret_pids, size_t room);

/* The live processes whose environment says TWSHIM_RUN=`tag`; other users' can't be seen.
 * Up to `room` of them in `ret_pids`; returns how many there are. */
size_t lineage_of_run(const char *tag, pid_t *ret_pids, size_t room);

/* The process's short name; "?" if it is gone. Returns `buffer`. */
const char *lineage_name(pid_t pid, char *buffer, size_t size);

#endif
