/* SPDX-License-Identifier: MIT
 *
 * The sockets that a process holds, by the inodes in the links of /proc/PID/fd.
 */
#ifndef TWS_TOOLS_DESCRIPTORS_H
#define TWS_TOOLS_DESCRIPTORS_H

#include <stdint.h>
#include <sys/types.h>

/* Calls `visit` with the inode of each socket until it returns a value other than 0,
 * which becomes the result. 0, or -errno where the process may not be looked at or is
 * gone. `proc`: NULL is /proc. */
int descriptors_each_socket(const char *proc, pid_t pid,
			    int (*visit)(uint64_t inode, void *data), void *data);

#endif
