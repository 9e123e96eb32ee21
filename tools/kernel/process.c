/* SPDX-License-Identifier: MIT */
#include "tools/kernel/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/kernel/kernel.h"

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

/* The file's text, cut to `size`; false if there is none. */
static bool read_proc(const char *pid, const char *name, char *ret_text, size_t size)
{
	char path[64];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/%.20s/%.20s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = read(fd, ret_text, size - 1);
	close(fd);
	ret_text[length > 0 ? length : 0] = '\0';
	return length > 0;
}

/* The name in parentheses may hold anything, parentheses too: count from the last one. */
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
	char name[24], text[1024];
	uint64_t start;
	bool zombie;

	snprintf(name, sizeof(name), "%d", (int)pid);
	return read_proc(name, "stat", text, sizeof(text)) &&
		       process_parse_stat(text, &start, &zombie) && !zombie
		   ? start
		   : 0;
}

/* Most are asked about when they are long gone, and then the shortest question does. */
static enum process_life life_here(pid_t pid, uint64_t start_time)
{
	char name[24], text[1024];
	uint64_t start;
	bool zombie;

	if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH)
		return PROCESS_DEAD;
	snprintf(name, sizeof(name), "%d", (int)pid);
	if (!read_proc(name, "stat", text, sizeof(text)))
		return PROCESS_DEAD;
	if (!process_parse_stat(text, &start, &zombie))
		return PROCESS_UNKNOWN;
	return start == start_time && !zombie ? PROCESS_ALIVE : PROCESS_DEAD;
}

/* The pid in the innermost namespace, if that is not ours: NSpid lists one a level. */
static pid_t innermost_pid(const char *status)
{
	const char *line = strstr(status, "\nNSpid:");
	int levels = 0;
	pid_t pid = 0;
	char *end;

	if (!line)
		return 0;
	line += strlen("\nNSpid:");
	for (; *line && *line != '\n'; line = end, levels++) {
		pid = (pid_t)strtol(line, &end, 10);
		if (end == line)
			break;
	}
	return levels > 1 ? pid : 0;
}

/* Real, effective, saved, file system. False: the text has no such line. */
static bool parse_uids(const char *status, uint32_t ret_uids[4])
{
	const char *line = strstr(status, "\nUid:");

	return line && sscanf(line, "\nUid: %u %u %u %u", &ret_uids[0], &ret_uids[1],
			      &ret_uids[2], &ret_uids[3]) == 4;
}

static void remember(struct process_view *view, const char *name)
{
	struct process_below below, *grown;
	char text[4096];
	bool zombie;

	if (!read_proc(name, "status", text, sizeof(text)))
		return;
	below.pid = innermost_pid(text);
	if (!below.pid || !parse_uids(text, below.uids) ||
	    !read_proc(name, "stat", text, sizeof(text)) ||
	    !process_parse_stat(text, &below.start_time, &zombie) || zombie)
		return;
	if (view->below_count == view->below_room) {
		view->below_room = view->below_room ? view->below_room * 2 : 64;
		grown = reallocarray(view->below, view->below_room, sizeof(*grown));
		if (!grown) {
			view->below_room = view->below_count;
			return;
		}
		view->below = grown;
	}
	view->below[view->below_count++] = below;
}

static void scan(struct process_view *view)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	view->scanned = true;
	if (!proc)
		return;
	while ((entry = readdir(proc)) != NULL)
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			remember(view, entry->d_name);
	closedir(proc);
}

static bool has_uid(const uint32_t uids[4], uint32_t uid)
{
	return uids[0] == uid || uids[1] == uid || uids[2] == uid || uids[3] == uid;
}

/* Asked after its uids: the process that we saw is the one that is meant. */
static bool may_be_of_here(pid_t pid, uint64_t start_time, uint32_t uid)
{
	char name[24], text[4096];
	uint32_t uids[4];

	snprintf(name, sizeof(name), "%d", (int)pid);
	if (!read_proc(name, "status", text, sizeof(text)) || !parse_uids(text, uids) ||
	    has_uid(uids, uid))
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
		scan(view);
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
		scan(view);
	for (size_t i = 0; i < view->below_count; i++)
		if (view->below[i].pid == pid && view->below[i].start_time == start_time)
			return PROCESS_ALIVE;
	return view->pid_namespace == INITIAL_PID_NAMESPACE ? PROCESS_DEAD
							    : PROCESS_UNKNOWN;
}
