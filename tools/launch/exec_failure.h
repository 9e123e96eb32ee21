/* SPDX-License-Identifier: MIT
 *
 * Why a command could not be executed, and the exit status that shells give it.
 */
#ifndef TWS_TOOLS_EXEC_FAILURE_H
#define TWS_TOOLS_EXEC_FAILURE_H

#include <stddef.h>

#define EXEC_NOT_EXECUTABLE 126
#define EXEC_NOT_FOUND	    127

/* `path`: where `command` was found, "" if nowhere. `error`: errno of execve(2). Writes
 * "what: why: cure" and returns the exit status. */
int exec_failure_explain(const char *command, const char *path, int error,
			 char *ret_error, size_t size);

#endif
