/* SPDX-License-Identifier: MIT
 *
 * Control groups of the unified hierarchy (version 2), which BPF can distinguish.
 */
#ifndef TWS_TOOLS_OBSERVE_CGROUP_H
#define TWS_TOOLS_OBSERVE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Finds where the hierarchy is mounted. 0 or -errno. */
int cgroup_root(char *ret_path, size_t size);

/* Finds the id of a group and its depth below the root. 0 or -errno. */
int cgroup_identify(const char *path, uint64_t *ret_id, uint32_t *ret_level);

/* Finds the group of a unit by name ("nginx.service"). 0 or -errno. */
int cgroup_of_unit(const char *unit, char *ret_path, size_t size);

/* Whether a process is in this group or below it. */
bool cgroup_has(const char *path, pid_t pid);

/* Finds the path below the root of the group with this id, such as
 * "/system.slice/nginx.service". 0 or -errno. */
int cgroup_of_id(uint64_t id, char *ret_path, size_t size);

#endif
