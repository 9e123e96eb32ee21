/* SPDX-License-Identifier: MIT */
#include "tools/model/listeners.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/kernel/proc_file.h"

struct naming {
	struct owners *owners;
	struct cookie_map port_of; /* inode of a listening socket -> its port */
};

static bool has_group_at(const struct owners *owners, uint16_t port)
{
	for (size_t i = 0; i < owners->count; i++)
		if (owners->groups[i].has_listener &&
		    owners->groups[i].local_port == port)
			return true;
	return false;
}

static int note_sockets(struct naming *naming)
{
	const struct kernel_table *table = &naming->owners->model->table;
	int result = 0;

	for (size_t i = 0; result >= 0 && i < table->count; i++)
		if (table->sockets[i].state == TCP_LISTEN && table->sockets[i].inode &&
		    has_group_at(naming->owners, table->sockets[i].local.port))
			result = cookie_map_add(&naming->port_of, table->sockets[i].inode,
						table->sockets[i].local.port);
	return result < 0 ? result : 0;
}

static void name_group(struct owners_group *group, pid_t pid)
{
	if (group->listener && group->listener < pid)
		return;
	group->listener = pid;
	if (proc_read_of(pid, "comm", group->listener_name,
			 sizeof(group->listener_name)) != 0)
		*group->listener_name = '\0';
	group->listener_name[strcspn(group->listener_name, "\n")] = '\0';
}

static void name_port(struct owners *owners, uint32_t port, pid_t pid)
{
	for (size_t i = 0; i < owners->count; i++)
		if (owners->groups[i].has_listener &&
		    owners->groups[i].local_port == port)
			name_group(&owners->groups[i], pid);
}

/* "socket:[12345]" -> 12345; 0: not a socket. */
static uint64_t inode_of_link(int directory, const char *name)
{
	char link[64];
	ssize_t length = readlinkat(directory, name, link, sizeof(link) - 1);

	if (length < 9 || memcmp(link, "socket:[", 8) != 0)
		return 0;
	link[length] = '\0';
	return strtoull(link + 8, NULL, 10);
}

static int name_process(pid_t pid, void *data)
{
	struct naming *naming = data;
	const struct dirent *entry;
	const uint32_t *port;
	char path[64];
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	directory = opendir(path);
	while (directory && (entry = readdir(directory))) {
		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		port = cookie_map_find(&naming->port_of,
				       inode_of_link(dirfd(directory), entry->d_name));
		if (port)
			name_port(naming->owners, *port, pid);
	}
	if (directory)
		closedir(directory);
	return 0;
}

int listeners_name(struct owners *owners)
{
	struct naming naming = {.owners = owners};
	int result = owners->incoming ? note_sockets(&naming) : 0;

	if (result == 0 && naming.port_of.count)
		proc_each(name_process, &naming);
	cookie_map_free(&naming.port_of);
	return result;
}
