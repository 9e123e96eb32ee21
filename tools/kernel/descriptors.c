/* SPDX-License-Identifier: MIT */
#include "tools/kernel/descriptors.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "socket:[12345]" -> 12345; 0: not a socket. */
static uint64_t socket_inode(int directory, const char *name)
{
	char link[64];
	ssize_t length = readlinkat(directory, name, link, sizeof(link) - 1);

	if (length < 9 || memcmp(link, "socket:[", 8) != 0)
		return 0;
	link[length] = '\0';
	return strtoull(link + 8, NULL, 10);
}

int descriptors_each_socket(const char *proc, pid_t pid,
			    int (*visit)(uint64_t inode, void *data), void *data)
{
	char path[4096];
	struct dirent *entry;
	uint64_t inode;
	DIR *directory;
	int result = 0;

	snprintf(path, sizeof(path), "%s/%d/fd", proc ? proc : "/proc", (int)pid);
	directory = opendir(path);
	if (!directory)
		return -errno;
	while (result == 0 && (entry = readdir(directory))) {
		inode = isdigit((unsigned char)*entry->d_name)
			    ? socket_inode(dirfd(directory), entry->d_name)
			    : 0;
		if (inode)
			result = visit(inode, data);
	}
	closedir(directory);
	return result;
}
