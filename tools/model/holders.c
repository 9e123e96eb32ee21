/* SPDX-License-Identifier: MIT
 *
 * Walks /proc once and looks up each descriptor of each process in the set of wanted
 * inodes.
 */
#include "tools/model/holders.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/kernel/naming.h"
#include "tools/base/array.h"
#include "tools/base/print.h"
#include "tools/kernel/descriptors.h"

#define NAMED 5 /* most processes named in `connected` */

struct search {
	struct holders *holders;
	const struct model *model;
	const struct tws_address *to;
	struct cookie_map wanted; /* inode -> index in the table */
	uint64_t close_wait; /* sockets in CLOSE_WAIT, as long as no process is found for
				them */
	unsigned named;
	const char *proc;
};

static bool is_close_wait(const struct kernel_socket *socket)
{
	return socket->state == TCP_CLOSE_WAIT && socket->inode;
}

static bool is_connected(const struct search *search, const struct kernel_socket *socket)
{
	return search->to && socket->inode && socket->state != TCP_LISTEN &&
	       memcmp(&socket->remote, search->to, sizeof(*search->to)) == 0;
}

static void look_over(struct search *search)
{
	const struct kernel_table *table = &search->model->table;

	for (size_t i = 0; i < table->count; i++)
		search->close_wait += is_close_wait(&table->sockets[i]);
}

static int want(struct search *search, uint64_t least)
{
	const struct kernel_table *table = &search->model->table;
	int result = 0;

	look_over(search);
	if (search->close_wait < least)
		search->close_wait = 0;
	for (size_t i = 0; result >= 0 && i < table->count; i++)
		if ((search->close_wait && is_close_wait(&table->sockets[i])) ||
		    is_connected(search, &table->sockets[i]))
			result = cookie_map_add(&search->wanted, table->sockets[i].inode,
						(uint32_t)i);
	return result < 0 ? result : 0;
}

/* ------------------------------------------------------------------ one process */

static void read_comm(const struct search *search, pid_t pid, char *ret_name, size_t size)
{
	char path[4096], text[64] = "", other[NAMING_SIZE];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%d/comm", search->proc, (int)pid);
	file = fopen(path, "re");
	if (file && fgets(text, sizeof(text), file))
		text[strcspn(text, "\n")] = '\0';
	if (file)
		fclose(file);
	print_escape(ret_name, size,
		     naming_of_process(other, search->proc, pid, *text ? text : "?"));
}

static struct holder *add_holder(struct search *search, pid_t pid)
{
	struct holders *holders = search->holders;
	struct holder *list = array_grow(holders->list, holders->count, sizeof(*list));

	if (!list)
		return NULL;
	holders->list = list;
	holders->list[holders->count] = (struct holder){.pid = pid};
	return &holders->list[holders->count++];
}

/* Majority vote: if most sockets share one end, that end remains in `to` and `port`. */
static void count_held(struct holder *holder, const struct kernel_socket *socket,
		       bool incoming)
{
	holder->count++;
	if (holder->there == 0) {
		holder->to = socket->remote;
		holder->port = incoming ? socket->local.port : 0;
	}
	if (incoming ? holder->port == socket->local.port
		     : memcmp(&holder->to, &socket->remote, sizeof(holder->to)) == 0)
		holder->there++;
	else
		holder->there--;
}

/* connect() never chooses a port that has a listener. If the local port has no listener
 * and lies outside the range of connect(), either the listener has gone or a client chose
 * the port itself (a port_ring does). Then the lower of the two ports is taken for the
 * service's. */
static bool came_in_here(const struct search *search, const struct kernel_socket *socket)
{
	const struct model *model = search->model;
	uint16_t port = socket->local.port;

	if (model_has_listener(model, port))
		return true;
	return model->ports.high && !kernel_ports_hold(&model->ports, port) &&
	       port < socket->remote.port;
}

static void name_connected(struct search *search, pid_t pid)
{
	char *connected = search->holders->connected, name[64];
	size_t used = strlen(connected), size = sizeof(search->holders->connected);

	if (search->named++ >= NAMED || used + 32 > size)
		return;
	read_comm(search, pid, name, sizeof(name));
	snprintf(connected + used, size - used, "%s%.40s (%d)", used ? ", " : "", name,
		 (int)pid);
}

struct looking {
	struct search *search;
	pid_t pid;
	struct holder *holder;
	bool connected;
};

static int take_inode(uint64_t inode, void *data)
{
	struct looking *looking = data;
	struct search *search = looking->search;
	const uint32_t *index = cookie_map_find(&search->wanted, inode);
	const struct kernel_socket *socket;

	if (!index)
		return 0;
	socket = &search->model->table.sockets[*index];
	looking->connected = looking->connected || is_connected(search, socket);
	if (!search->close_wait || !is_close_wait(socket))
		return 0;
	if (!looking->holder)
		looking->holder = add_holder(search, looking->pid);
	if (!looking->holder)
		return -ENOMEM;
	count_held(looking->holder, socket, came_in_here(search, socket));
	return 0;
}

static int search_process(struct search *search, pid_t pid)
{
	struct looking looking = {.search = search, .pid = pid};
	int result = descriptors_each_socket(search->proc, pid, take_inode, &looking);

	if (result == -EACCES || result == -EPERM)
		search->holders->hidden++;
	if (looking.holder)
		read_comm(search, pid, looking.holder->name,
			  sizeof(looking.holder->name));
	if (looking.connected)
		name_connected(search, pid);
	return result == -ENOMEM ? result : 0;
}

/* --------------------------------------------------------------------- all of them */

static int walk(struct search *search)
{
	DIR *directory = opendir(search->proc);
	struct dirent *entry;
	int result = 0;

	while (directory && result == 0 && (entry = readdir(directory)))
		if (isdigit((unsigned char)*entry->d_name))
			result = search_process(search, (pid_t)atoi(entry->d_name));
	if (directory)
		closedir(directory);
	return result;
}

/* Adds a last entry for sockets that belong to no process that we may look at. */
static int count_rest(struct search *search)
{
	uint64_t found = 0;
	struct holder *holder;

	for (size_t i = 0; i < search->holders->count; i++)
		found += search->holders->list[i].count;
	if (found >= search->close_wait)
		return 0;
	holder = add_holder(search, 0);
	if (!holder)
		return -ENOMEM;
	holder->count = search->close_wait - found;
	return 0;
}

static int compare_holders(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

int holders_find(struct holders *ret_holders, const struct model *model, uint64_t least,
		 const struct tws_address *to, const char *proc)
{
	struct search search = {
	    .holders = ret_holders,
	    .model = model,
	    .to = to,
	    .proc = proc ? proc : "/proc",
	};
	int result;

	*ret_holders = (struct holders){0};
	result = want(&search, least);
	if (result == 0 && search.wanted.count)
		result = walk(&search);
	if (result == 0)
		result = count_rest(&search);
	if (result == 0 && ret_holders->count)
		qsort(ret_holders->list, ret_holders->count, sizeof(*ret_holders->list),
		      compare_holders);
	cookie_map_free(&search.wanted);
	return result;
}

void holders_free(struct holders *holders)
{
	free(holders->list);
	*holders = (struct holders){0};
}
