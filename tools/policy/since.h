/* SPDX-License-Identifier: MIT
 *
 * --since of the commands: from when on a view counts.
 */
#ifndef TWS_TOOLS_SINCE_H
#define TWS_TOOLS_SINCE_H

#include <stddef.h>
#include <stdint.h>

/* The row of an option for a field of type const char *. */
#define SINCE_OPTION(request, field)                                                     \
	{                                                                                \
		"since", 0, "WHEN",                                                      \
		    "count from then on (1h): 90s, 10m, 2h, 1d, a time (09:12 or\n"      \
		    "2026-11-30T09:12, in UTC, or @1796029920), policy (since it\n"      \
		    "changed) or all",                                                   \
		    cli_take_text, .offset = offsetof(request, field)                    \
	}

/* Finds the time on CLOCK_MONOTONIC of what a user wrote after --since; NULL: an hour
 * ago. `dir`: where the user's policy is, NULL: where it usually is. 0 in `ret_ns`: all
 * that is known counts. Returns 0, or -EINVAL with a reason of one line, which names the
 * forms that are allowed. */
int since_find(const char *text, const char *dir, uint64_t *ret_ns, char *ret_error,
	       size_t size);

#endif
