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

static void read_proc(const char *pid, const char *name, char *ret_text, size_t size)
{
	char path[64];
	ssize_t length = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%.20s/%.20s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		length = read(fd, ret_text, size - 1);
	ret_text[length > 0 ? length : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

/* The last number of the line: the pid in the innermost namespace. */
static long innermost_pid(const char *status)
{
	const char *line = strstr(status, "\nNSpid:");
	char *end;
	long ret = 0;

	for (line = line ? line + strlen("\nNSpid:") : ""; *line == '\t'; line = end)
		ret = strtol(line, &end, 10);
	return ret;
}

/* What the name of its segment begins with. False: it can't be told. */
static bool segment_prefix(const char *pid, char *ret_prefix, size_t size)
{
	char path[64], status[4096], stat_text[1024];
	uint64_t start;
	struct stat st;
	bool zombie;

	snprintf(path, sizeof(path), "/proc/%.20s/ns/pid", pid);
	read_proc(pid, "status", status, sizeof(status));
	read_proc(pid, "stat", stat_text, sizeof(stat_text));
	if (stat(path, &st) != 0 || !process_parse_stat(stat_text, &start, &zombie))
		return false;
	snprintf(ret_prefix, size, "%" PRIu64 "-%ld-%" PRIu64 "-", (uint64_t)st.st_ino,
		 innermost_pid(status), start);
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

static bool publishes(const char *pid)
{
	char prefix[96], path[PATH_MAX];

	if (!segment_prefix(pid, prefix, sizeof(prefix)))
		return false;
	return (tws_rundir_find(path, sizeof(path)) == 0 && find_in(path, prefix)) ||
	       tws_rundir_others(find_in, prefix) == 1;
}

void unit_processes_count(const char *unit, struct unit_processes *ret_processes)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char group[4096];

	*ret_processes = (struct unit_processes){0};
	while (proc && (entry = readdir(proc)) != NULL) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		read_proc(entry->d_name, "cgroup", group, sizeof(group));
		if (!unit_processes_is_in_group(group, unit))
			continue;
		ret_processes->all++;
		ret_processes->loaded +=
		    reach_is_reached(reach_pid(atoi(entry->d_name), NULL).verdict);
		ret_processes->publishing += publishes(entry->d_name);
	}
	if (proc)
		closedir(proc);
}
