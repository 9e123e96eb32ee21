/* SPDX-License-Identifier: MIT
 *
 * The processes of a systemd unit, found by their control group, without asking systemd.
 */
#ifndef TWS_TOOLS_ENABLED_H
#define TWS_TOOLS_ENABLED_H

#include <stdbool.h>
#include <stddef.h>

struct enabled_processes {
	size_t all;
	size_t loaded;	   /* have the shim */
	size_t publishing; /* have a segment: they opened a connection */
};

/* Counts a unit's; of a template, those of all its instances. */
void enabled_count(const char *unit, struct enabled_processes *ret_processes);

/* Whether a text as of /proc/PID/cgroup names the unit. Pure. */
bool enabled_is_in_group(const char *text, const char *unit);

#endif
