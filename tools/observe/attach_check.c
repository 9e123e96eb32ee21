/* SPDX-License-Identifier: MIT
 *
 * Whether a process may be attached to: looked up before anything is done to it.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/kernel/proc_file.h"
#include "tools/kernel/process.h"
#include "tools/observe/attach.h"
#include "tools/observe/inject.h"

#define YAMA	      "/proc/sys/kernel/yama/ptrace_scope"
#define CAP_SYS_ADMIN 21

/* The rest of a line of /proc/PID/status behind its name; "": there is none. */
static const char *field(const char *status, const char *name)
{
	const char *line = strstr(status, name);

	return line ? line + strlen(name) : "";
}

static unsigned long number(const char *status, const char *name, int base)
{
	return strtoul(field(status, name), NULL, base);
}

/* All four of them. */
static bool is_ours(const char *status)
{
	unsigned uids[4];

	return sscanf(field(status, "\nUid:"), "%u %u %u %u", &uids[0], &uids[1],
		      &uids[2], &uids[3]) == 4 &&
	       uids[0] == geteuid() && uids[1] == geteuid() && uids[2] == geteuid() &&
	       uids[3] == geteuid();
}

/* Of any of its threads. */
static bool has_filter(pid_t process)
{
	char path[64], name[320], status[4096];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)process);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir)) != NULL) {
		snprintf(name, sizeof(name), "task/%s/status", entry->d_name);
		found = *entry->d_name != '.' &&
			proc_read_of(process, name, status, sizeof(status)) == 0 &&
			number(status, "\nSeccomp:", 10) != 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* 0: Yama is not there, or allows it. */
static unsigned yama_forbids(void)
{
	char text[16];
	unsigned scope;

	if (proc_read(YAMA, text, sizeof(text)) != 0)
		return 0;
	scope = (unsigned)strtoul(text, NULL, 10);
	return scope == 3 || geteuid() != 0 ? scope : 0;
}

static bool refuse(char *ret_error, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse(char *ret_error, size_t size, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(ret_error, size, format, arguments);
	va_end(arguments);
	return false;
}

/* What its state forbids. */
static bool check_state(pid_t process, const char *status, char *ret_error, size_t size)
{
	char state = field(status, "\nState:\t")[0];

	if (state == 'Z' || state == 'X')
		return refuse(ret_error, size, "it has ended");
	if (number(status, "\nTracerPid:", 10))
		return refuse(ret_error, size,
			      "process %lu traces it: end that debugger or strace first",
			      number(status, "\nTracerPid:", 10));
	if (state == 'T')
		return refuse(ret_error, size, "it is stopped: kill -CONT %d first",
			      (int)process);
	if (has_filter(process))
		return refuse(ret_error, size,
			      "it has a filter of system calls already; as root, twshim "
			      "watch --pid %d observes it",
			      (int)process);
	if (process_has_shim(process) > 0)
		return refuse(ret_error, size,
			      "it has the shim, which counts it: see twshim report %d",
			      (int)process);
	return true;
}

bool attach_is_allowed(pid_t process, bool *ret_gives_up, char *ret_error, size_t size)
{
	char status[4096];
	unsigned scope = yama_forbids();

	if (proc_read_of(process, "status", status, sizeof(status)) != 0)
		return refuse(ret_error, size, "no such process: pgrep finds its number");
	if (!is_ours(status))
		return refuse(ret_error, size,
			      "it is not a process of your own user: as root, twshim "
			      "watch --pid %d observes it",
			      (int)process);
	if (scope)
		return refuse(ret_error, size,
			      "kernel.yama.ptrace_scope is %u, which forbids it: as "
			      "root, %s",
			      scope,
			      scope == 3 ? "twshim watch --pid observes it"
					 : "sysctl kernel.yama.ptrace_scope=0, or twshim "
					   "watch --pid");
	if (process == getpid())
		return refuse(ret_error, size, "that is twshim itself");
	if (!inject_is_possible())
		return refuse(ret_error, size,
			      "only programs of x86-64 can be attached to; as root, "
			      "twshim watch --pid %d observes it",
			      (int)process);
	*ret_gives_up = !(number(status, "\nCapEff:", 16) >> CAP_SYS_ADMIN & 1) &&
			number(status, "\nNoNewPrivs:", 10) == 0;
	return check_state(process, status, ret_error, size);
}
