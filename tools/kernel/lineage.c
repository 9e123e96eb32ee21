/* SPDX-License-Identifier: MIT */
#include "tools/kernel/lineage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLE    "TWSHIM_DIR="
#define GENERATIONS 64 /* more than any real line; processes come and go meanwhile */

/* Reads the start of a file of /proc. False: gone, or not ours to read. */
static bool read_start(pid_t pid, const char *file, char *buffer, size_t size)
{
	char path[64];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = read(fd, buffer, size - 1);
	close(fd);
	buffer[length > 0 ? length : 0] = '\0';
	return length > 0;
}

/* Field 4 of proc_pid_stat(5), after the name, which may hold anything; 0: none. */
static pid_t parent_of(pid_t pid)
{
	char stat[512];
	const char *name_end;
	int parent;

	if (!read_start(pid, "stat", stat, sizeof(stat)))
		return 0;
	name_end = strrchr(stat, ')');
	if (!name_end || sscanf(name_end + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

bool lineage_descends(pid_t pid, pid_t ancestor)
{
	for (int i = 0; i < GENERATIONS && pid > 1; i++) {
		pid = parent_of(pid);
		if (pid == ancestor)
			return true;
	}
	return false;
}

static bool is_at_or_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	return strncmp(path, directory, length) == 0 &&
	       (path[length] == '\0' || path[length] == '/');
}

/* The environment as the process was started with. */
static bool was_started_with(pid_t pid, const char *directory)
{
	char path[64], *line = NULL;
	size_t size = 0;
	bool ret = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (!ret && getdelim(&line, &size, '\0', file) > 0)
		ret = strncmp(line, VARIABLE, strlen(VARIABLE)) == 0 &&
		      is_at_or_below(line + strlen(VARIABLE), directory);
	free(line);
	fclose(file);
	return ret;
}

size_t lineage_of_directory(const char *directory, pid_t *ret_pids, size_t room)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	size_t count = 0;

	if (!proc)
		return 0;
	while ((entry = readdir(proc)) != NULL) {
		pid_t pid = atoi(entry->d_name);

		if (pid <= 0 || pid == getpid() || !was_started_with(pid, directory))
			continue;
		if (count < room)
			ret_pids[count] = pid;
		count++;
	}
	closedir(proc);
	return count;
}

const char *lineage_name(pid_t pid, char *buffer, size_t size)
{
	if (!read_start(pid, "comm", buffer, size))
		snprintf(buffer, size, "?");
	buffer[strcspn(buffer, "\n")] = '\0';
	return buffer;
}
