/* SPDX-License-Identifier: MIT
 *
 * How a process came to run: by a service of systemd, by cron, in a container, or by a
 * command; and what to type to start it so again. Read from /proc.
 */
#ifndef TWS_TOOLS_ORIGIN_H
#define TWS_TOOLS_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum origin_kind {
	ORIGIN_UNKNOWN, /* the process has gone, or may not be read */
	ORIGIN_COMMAND,
	ORIGIN_UNIT,
	ORIGIN_USER_UNIT, /* of the user's own systemd */
	ORIGIN_CRON,
	ORIGIN_CONTAINER
};

#define ORIGIN_NAME_SIZE    128
#define ORIGIN_COMMAND_SIZE 400

struct origin {
	enum origin_kind kind;
	char name[ORIGIN_NAME_SIZE]; /* the unit, or the container's short id; or "" */
	/* What a shell runs to start it again, for cron: the job's command. "": not
	 * known, or too long. It may contain secrets: show it only to somebody who could
	 * read it in /proc. */
	char command[ORIGIN_COMMAND_SIZE];
};

/* Looks at a live process and its ancestors. */
void origin_of_process(struct origin *ret_origin, pid_t pid);

/* Whether a process or a unit of this name starts the jobs of crontabs. */
bool origin_is_cron(const char *name);

/* Takes kind and name from the text of /proc/PID/cgroup. Pure. */
void origin_of_cgroup(struct origin *ret_origin, const char *text);

/* Writes words that NULs end as one line that a shell reads as the same words. False: it
 * does not fit, or a word has a control character; then `ret_line` is "". Pure. */
bool origin_quote(char *ret_line, size_t size, const char *words, size_t length);

/* The same for the words of an argv. */
bool origin_quote_arguments(char *ret_line, size_t size, char *const *argv);

#endif
