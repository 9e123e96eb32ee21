/* SPDX-License-Identifier: MIT */
#include "tools/kernel/lineage.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/kernel/proc_file.h"

#define VARIABLE    "TWSHIM_RUN="
#define GENERATIONS 64 /* more than any real line; processes come and go meanwhile */

/* Reads field 4 of proc_pid_stat(5), which follows the name; the name may contain
 * anything. Returns 0 if there is none. */
pid_t lineage_parent(pid_t pid)
{
	char stat[512];
	const char *name_end;
	int parent;

	if (proc_read_of(pid, "stat", stat, sizeof(stat)) != 0)
		return 0;
	name_end = strrchr(stat, ')');
	if (!name_end || sscanf(name_end + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

bool lineage_descends(pid_t pid, pid_t ancestor)
{
	for (int i = 0; i < GENERATIONS && pid > 1; i++) {
		pid = lineage_parent(pid);
		if (pid == ancestor)
			return true;
	}
	return false;
}

struct lineage_family {
	pid_t *pids;
	size_t room, count;
};

static int family_visit(pid_t pid, void *data)
{
	struct lineage_family *family = data;

	if (family->count < family->room && lineage_descends(pid, family->pids[0]))
		family->pids[family->count++] = pid;
	return 0;
}

size_t lineage_family(pid_t pid, pid_t *ret_pids, size_t room)
{
	struct lineage_family family = {.pids = ret_pids, .room = room, .count = 1};

	ret_pids[0] = pid;
	proc_each(family_visit, &family);
	return family.count;
}

static bool names_run(const char *variable, const void *tag)
{
	return strncmp(variable, VARIABLE, strlen(VARIABLE)) == 0 &&
	       strcmp(variable + strlen(VARIABLE), tag) == 0;
}

struct lineage_search {
	const char *tag;
	pid_t *pids;
	size_t room, count;
};

/* /proc shows the environment that the process was started with. */
static int lineage_visit(pid_t pid, void *data)
{
	struct lineage_search *search = data;

	if (pid == getpid() ||
	    proc_any_line(pid, "environ", '\0', names_run, search->tag) <= 0)
		return 0;
	if (search->count < search->room)
		search->pids[search->count] = pid;
	search->count++;
	return 0;
}

size_t lineage_of_run(const char *tag, pid_t *ret_pids, size_t room)
{
	struct lineage_search search = {.tag = tag, .pids = ret_pids, .room = room};

	proc_each(lineage_visit, &search);
	return search.count;
}

const char *lineage_name(pid_t pid, char *buffer, size_t size)
{
	if (proc_read_of(pid, "comm", buffer, size) != 0)
		snprintf(buffer, size, "?");
	buffer[strcspn(buffer, "\n")] = '\0';
	return buffer;
}
