/* SPDX-License-Identifier: MIT */
#include "tools/kernel/proc_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/shared/text.h"

#define PATH_SIZE 64

int proc_read(const char *path, char *ret_text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), result = fd < 0 ? -errno : 0;
	size_t used = 0;
	ssize_t length = 1;

	while (result == 0 && length > 0 && used + 1 < size) {
		length = read(fd, ret_text + used, size - 1 - used);
		if (length > 0)
			used += (size_t)length;
		else if (length < 0)
			result = -errno;
	}
	ret_text[used] = '\0';
	if (fd >= 0)
		close(fd);
	return result;
}

int proc_read_of(pid_t pid, const char *name, char *ret_text, size_t size)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return proc_read(path, ret_text, size);
}

int proc_any_line(pid_t pid, const char *name, int delimiter,
		  bool (*wanted)(const char *line, const void *data), const void *data)
{
	char path[PATH_SIZE], *line = NULL;
	size_t size = 0;
	int ret = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	in = fopen(path, "re");
	if (!in)
		return -errno;
	while (!ret && getdelim(&line, &size, delimiter, in) > 0)
		ret = wanted(line, data);
	if (ferror(in) && !ret)
		ret = -errno;
	free(line);
	fclose(in);
	return ret;
}

int proc_each(int (*visit)(pid_t pid, void *data), void *data)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int result = 0;

	while (proc && result == 0 && (entry = readdir(proc)) != NULL)
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			result = visit(atoi(entry->d_name), data);
	if (proc)
		closedir(proc);
	return result;
}

/* "NSpid:\t4711\t12\t1": one pid per namespace, the innermost last. */
pid_t proc_innermost_pid(const char *status, int *ret_levels)
{
	const char *line = strstr(status, "\nNSpid:");
	pid_t pid = 0;
	char *end;

	*ret_levels = 0;
	for (line = line ? line + strlen("\nNSpid:") : ""; *line == '\t'; line = end) {
		pid = (pid_t)strtol(line, &end, 10);
		++*ret_levels;
	}
	return pid;
}

bool proc_boot_id(uint8_t ret_id[16])
{
	char text[PATH_SIZE];

	return proc_read("/proc/sys/kernel/random/boot_id", text, sizeof(text)) == 0 &&
	       tws_text_to_id(text, ret_id);
}
