/* SPDX-License-Identifier: MIT */
#include "tools/launch/exec_failure.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file itself may exist (for a program in PATH, its path is known), while the
 * interpreter or loader that it names does not. */
static int explain_missing(const char *command, const char *path, char *ret_error,
			   size_t size)
{
	bool is_path = strchr(command, '/') != NULL;

	if (!is_path && !*path)
		snprintf(ret_error, size,
			 "%s: not found in PATH: name its path, as ./%s; for a "
			 "shell built-in, sh -c '%s'",
			 command, command, command);
	else if (is_path && access(command, F_OK) != 0)
		snprintf(ret_error, size,
			 "%s: not found: name a path that exists, or a program in "
			 "PATH without a path",
			 command);
	else
		snprintf(ret_error, size,
			 "%s: the interpreter or loader that it names is not found: see "
			 "its first line, or readelf -l",
			 command);
	return EXEC_NOT_FOUND;
}

int exec_failure_explain(const char *command, const char *path, int error,
			 char *ret_error, size_t size)
{
	const char *why = strerror(error);
	struct stat st;

	if (error == ENOENT)
		return explain_missing(command, path, ret_error, size);
	if (error == EACCES && stat(command, &st) == 0 && S_ISDIR(st.st_mode))
		snprintf(ret_error, size, "%s: it is a directory: name a program in it",
			 command);
	else if (error == EACCES)
		snprintf(ret_error, size,
			 "%s: %s: chmod +x it, or name what runs it, as in sh %s",
			 command, why, command);
	else
		snprintf(ret_error, size, "%s: %s: see execve(2)", command, why);
	return EXEC_NOT_EXECUTABLE;
}
