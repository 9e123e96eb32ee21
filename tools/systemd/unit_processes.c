/* SPDX-License-Identifier: MIT */
#include "tools/systemd/unit_processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/kernel/proc_file.h"
#include "tools/kernel/process.h"
#include "tools/launch/reach.h"
#include "tools/segments/rundir.h"

/* A component of a control group's path is the unit, or an instance of the template. */
static bool is_unit(const char *name, size_t length, const char *unit)
{
	const char *at = strstr(unit, "@.service");
	size_t before = at ? (size_t)(at - unit) + 1 : 0;

	if (!at)
		return strlen(unit) == length && strncmp(name, unit, length) == 0;
	return length > before + strlen(".service") && strncmp(name, unit, before) == 0 &&
	       strncmp(name + length - 8, ".service", 8) == 0;
}

bool unit_processes_is_in_group(const char *text, const char *unit)
{
	while (*text) {
		size_t length = strcspn(text, "/\n");

		if (is_unit(text, length, unit))
			return true;
		text += length;
		text += *text != '\0';
	}
	return false;
}

/* The beginning of its segment's name. False: it cannot be told. */
static bool segment_prefix(pid_t pid, char *ret_prefix, size_t size)
{
	char path[64], status[4096], stat_text[1024];
	uint64_t start;
	struct stat st;
	int levels;
	bool zombie;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	proc_read_of(pid, "status", status, sizeof(status));
	proc_read_of(pid, "stat", stat_text, sizeof(stat_text));
	if (stat(path, &st) != 0 || !process_parse_stat(stat_text, &start, &zombie))
		return false;
	snprintf(ret_prefix, size, "%" PRIu64 "-%d-%" PRIu64 "-", (uint64_t)st.st_ino,
		 (int)proc_innermost_pid(status, &levels), start);
	return true;
}

static int find_prefix(int fd, const char *name, void *data)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	const char *prefix = data;
	int found = 0;

	if (!dir && copy >= 0)
		close(copy);
	while (dir && !found && (entry = readdir(dir)) != NULL)
		found = strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	if (dir)
		closedir(dir);
	return found;
}

static int find_in(const char *path, void *data)
{
	return tws_rundir_each(path, find_prefix, data) == 1;
}

static bool publishes(pid_t pid)
{
	char prefix[96], path[PATH_MAX];

	if (!segment_prefix(pid, prefix, sizeof(prefix)))
		return false;
	return (tws_rundir_find(path, sizeof(path)) == 0 && find_in(path, prefix)) ||
	       tws_rundir_others(find_in, prefix) == 1;
}

struct unit_count {
	const char *unit;
	struct unit_processes *processes;
};

static int unit_count_process(pid_t pid, void *data)
{
	const struct unit_count *count = data;
	char group[4096];

	proc_read_of(pid, "cgroup", group, sizeof(group));
	if (!unit_processes_is_in_group(group, count->unit))
		return 0;
	count->processes->all++;
	count->processes->loaded += reach_is_reached(reach_pid(pid, NULL).verdict);
	count->processes->publishing += publishes(pid);
	return 0;
}

void unit_processes_count(const char *unit, struct unit_processes *ret_processes)
{
	struct unit_count count = {.unit = unit, .processes = ret_processes};

	*ret_processes = (struct unit_processes){0};
	proc_each(unit_count_process, &count);
}
