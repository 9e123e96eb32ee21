/* SPDX-License-Identifier: MIT
 *
 * Whose programs are named. What is served is read by people who may not see what other
 * users run. Set once, before the first thread starts.
 */
#ifndef TWS_TOOLS_NAMING_H
#define TWS_TOOLS_NAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NAMING_SIZE 24

/* From now on only our own programs are named. */
void naming_hide_others(void);

bool naming_is_limited(void);

/* The name, or "user UID" in its place. */
const char *naming_of_user(char buffer[NAMING_SIZE], uint32_t user, const char *name);

/* The same for the name of a process below `proc`. */
const char *naming_of_process(char buffer[NAMING_SIZE], const char *proc, pid_t pid,
			      const char *name);

#endif
