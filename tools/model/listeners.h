/* SPDX-License-Identifier: MIT
 *
 * Names the processes that listen where incoming TIME_WAIT sockets came in. The listening
 * socket's inode is looked up in the links of /proc/PID/fd.
 */
#ifndef TWS_TOOLS_LISTENERS_H
#define TWS_TOOLS_LISTENERS_H

#include "tools/model/owners.h"

/* Fills in the listener of each group that has one, if we may look at the process; of
 * several (workers that share a socket) the one with the lowest pid. Looks only if there
 * is such a group. Returns 0 or -ENOMEM. */
int listeners_name(struct owners *owners);

#endif
