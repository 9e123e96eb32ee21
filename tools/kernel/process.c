/* SPDX-License-Identifier: MIT */
#include "tools/kernel/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"
#include "tools/kernel/kernel.h"
#include "tools/kernel/proc_file.h"

/* The first pid namespace's inode, fixed in the kernel: from there all can be seen. */
#define INITIAL_PID_NAMESPACE 0xeffffffcu

struct process_below {
	pid_t pid; /* in its own namespace */
	uint64_t start_time;
	uint32_t uids[4];
};

void process_view_init(struct process_view *view)
{
	*view = (struct process_view){.pid_namespace = kernel_namespace("pid")};
}

void process_view_free(struct process_view *view)
{
	free(view->below);
	*view = (struct process_view){0};
}

/* The name in parentheses may contain anything, also parentheses: count from the last
 * one. */
bool process_parse_stat(const char *text, uint64_t *ret_start_time, bool *ret_zombie)
{
	const char *rest = strrchr(text, ')');
	unsigned long long start_time;
	long threads;
	char state;

	if (!rest || sscanf(rest + 1,
			    " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
			    "%*d %*d %ld %*d %llu",
			    &state, &threads, &start_time) != 3)
		return false;
	*ret_start_time = start_time;
	*ret_zombie = (state == 'Z' || state == 'X') && threads <= 1;
	return true;
}

uint64_t process_start_time(pid_t pid)
{
	char text[1024];
	uint64_t start;
	bool zombie;

	return proc_read_of(pid, "stat", text, sizeof(text)) == 0 &&
		       process_parse_stat(text, &start, &zombie) && !zombie
		   ? start
		   : 0;
}

/* Most processes ended long ago, and kill() is the shortest way to find that out. */
static enum process_life life_here(pid_t pid, uint64_t start_time)
{
	char text[1024];
	uint64_t start;
	bool zombie;

	if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH)
		return PROCESS_DEAD;
	if (proc_read_of(pid, "stat", text, sizeof(text)) != 0)
		return PROCESS_DEAD;
	if (!process_parse_stat(text, &start, &zombie))
		return PROCESS_UNKNOWN;
	return start == start_time && !zombie ? PROCESS_ALIVE : PROCESS_DEAD;
}

/* Real, effective, saved, file system. False: the text has no such line. */
static bool parse_uids(const char *status, uint32_t ret_uids[4])
{
	const char *line = strstr(status, "\nUid:");

	return line && sscanf(line, "\nUid: %u %u %u %u", &ret_uids[0], &ret_uids[1],
			      &ret_uids[2], &ret_uids[3]) == 4;
}

static int process_remember(pid_t pid, void *data)
{
	struct process_view *view = data;
	struct process_below below, *grown;
	char text[4096];
	int levels;
	bool zombie;

	if (proc_read_of(pid, "status", text, sizeof(text)) != 0)
		return 0;
	below.pid = proc_innermost_pid(text, &levels);
	if (levels < 2 || !parse_uids(text, below.uids) ||
	    proc_read_of(pid, "stat", text, sizeof(text)) != 0 ||
	    !process_parse_stat(text, &below.start_time, &zombie) || zombie)
		return 0;
	grown = array_grow(view->below, view->below_count, sizeof(*grown));
	if (!grown)
		return 0;
	view->below = grown;
	view->below[view->below_count++] = below;
	return 0;
}

static void process_scan(struct process_view *view)
{
	view->scanned = true;
	proc_each(process_remember, view);
}

static bool has_uid(const uint32_t uids[4], uint32_t uid)
{
	return uids[0] == uid || uids[1] == uid || uids[2] == uid || uids[3] == uid;
}

/* Reads the start time after the uids, so that both belong to the same process. */
static bool may_be_of_here(pid_t pid, uint64_t start_time, uint32_t uid)
{
	char text[4096];
	uint32_t uids[4];

	if (proc_read_of(pid, "status", text, sizeof(text)) != 0 ||
	    !parse_uids(text, uids) || has_uid(uids, uid))
		return true;
	return life_here(pid, start_time) != PROCESS_ALIVE;
}

bool process_may_be_of(struct process_view *view, uint64_t pid_namespace, pid_t pid,
		       uint64_t start_time, uint32_t uid)
{
	bool found = false;

	if (!view->pid_namespace || !pid_namespace)
		return true;
	if (pid_namespace == view->pid_namespace)
		return may_be_of_here(pid, start_time, uid);
	if (!view->scanned)
		process_scan(view);
	for (size_t i = 0; i < view->below_count; i++) {
		if (view->below[i].pid != pid || view->below[i].start_time != start_time)
			continue;
		if (has_uid(view->below[i].uids, uid))
			return true;
		found = true;
	}
	return !found;
}

enum process_life process_life(struct process_view *view, uint64_t pid_namespace,
			       pid_t pid, uint64_t start_time)
{
	if (!view->pid_namespace || !pid_namespace)
		return PROCESS_UNKNOWN;
	if (pid_namespace == view->pid_namespace)
		return life_here(pid, start_time);
	if (!view->scanned)
		process_scan(view);
	for (size_t i = 0; i < view->below_count; i++)
		if (view->below[i].pid == pid && view->below[i].start_time == start_time)
			return PROCESS_ALIVE;
	return view->pid_namespace == INITIAL_PID_NAMESPACE ? PROCESS_DEAD
							    : PROCESS_UNKNOWN;
}

static bool maps_shim(const char *line, const void *data)
{
	return strstr(line, "/libtwshim.so") != NULL;
}

int process_has_shim(pid_t pid)
{
	return proc_any_line(pid, "maps", '\n', maps_shim, NULL);
}
