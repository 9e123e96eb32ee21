/* SPDX-License-Identifier: MIT */
#include "tools/model/listeners.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kernel/naming.h"
#include "tools/kernel/descriptors.h"
#include "tools/kernel/proc_file.h"

struct naming {
	struct owners *owners;
	struct cookie_map port_of; /* inode of a listening socket -> its port */
	pid_t pid;		   /* of the process at hand */
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
	char other[NAMING_SIZE];
	const char *named;

	if (group->listener && group->listener < pid)
		return;
	group->listener = pid;
	if (proc_read_of(pid, "comm", group->listener_name,
			 sizeof(group->listener_name)) != 0)
		*group->listener_name = '\0';
	group->listener_name[strcspn(group->listener_name, "\n")] = '\0';
	named = naming_of_process(other, "/proc", pid, group->listener_name);
	if (named != group->listener_name)
		snprintf(group->listener_name, sizeof(group->listener_name), "%.*s",
			 (int)sizeof(group->listener_name) - 1, named);
}

static void name_port(struct owners *owners, uint32_t port, pid_t pid)
{
	for (size_t i = 0; i < owners->count; i++)
		if (owners->groups[i].has_listener &&
		    owners->groups[i].local_port == port)
			name_group(&owners->groups[i], pid);
}

static int name_socket(uint64_t inode, void *data)
{
	struct naming *naming = data;
	const uint32_t *port = cookie_map_find(&naming->port_of, inode);

	if (port)
		name_port(naming->owners, *port, naming->pid);
	return 0;
}

static int name_process(pid_t pid, void *data)
{
	struct naming *naming = data;

	naming->pid = pid;
	descriptors_each_socket(NULL, pid, name_socket, naming);
	return 0;
}

int listeners_name(struct owners *owners)
{
	struct naming naming = {.owners = owners};
	int result = owners->model->kernel.incoming ? note_sockets(&naming) : 0;

	if (result == 0 && naming.port_of.count)
		proc_each(name_process, &naming);
	cookie_map_free(&naming.port_of);
	return result;
}
