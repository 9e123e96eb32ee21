/* SPDX-License-Identifier: MIT
 *
 * Other network namespaces, for root: the kernel's tables of sockets there, and whatever
 * else is to be asked there.
 */
#ifndef TWS_TOOLS_NAMESPACE_TABLE_H
#define TWS_TOOLS_NAMESPACE_TABLE_H

#include <stdint.h>
#include <sys/types.h>

#include "tools/kernel/kernel.h"

/* Returns the inode of the network namespace of a process, or 0. */
uint64_t namespace_of(pid_t pid);

/* Returns a process in the network namespace; 0: there is none. */
pid_t namespace_resident(uint64_t net_namespace);

/* Calls `work` in the network namespace of a process. 0, or -errno: it was not called. */
int namespace_work(pid_t pid, void (*work)(void *data), void *data);

/* As kernel_table_read(), in the network namespace of a process. 0 or -errno. */
int namespace_table_read(struct kernel_table *ret_table, pid_t pid, uint32_t states);

#endif
