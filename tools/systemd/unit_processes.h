/* SPDX-License-Identifier: MIT
 *
 * The processes of a systemd unit, found by their control group without asking systemd.
 */
#ifndef TWS_TOOLS_UNIT_PROCESSES_H
#define TWS_TOOLS_UNIT_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>

struct unit_processes {
	size_t all;
	size_t loaded;	   /* have the shim */
	size_t publishing; /* have a segment: they opened a connection */
};

/* Counts the processes of a unit; for a template, those of all its instances. */
void unit_processes_count(const char *unit, struct unit_processes *ret_processes);

/* Whether a text as of /proc/PID/cgroup names the unit. Pure. */
bool unit_processes_is_in_group(const char *text, const char *unit);

#endif
