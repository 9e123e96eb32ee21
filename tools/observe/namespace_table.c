/* SPDX-License-Identifier: MIT */
#include "tools/observe/namespace_table.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/kernel/proc_file.h"

uint64_t namespace_of(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

struct wanted {
	uint64_t net_namespace;
	pid_t pid;
};

static int is_resident(pid_t pid, void *data)
{
	struct wanted *wanted = data;

	if (namespace_of(pid) != wanted->net_namespace)
		return 0;
	wanted->pid = pid;
	return 1;
}

pid_t namespace_resident(uint64_t net_namespace)
{
	struct wanted wanted = {.net_namespace = net_namespace};

	if (net_namespace == kernel_namespace("net"))
		return getpid();
	proc_each(is_resident, &wanted);
	return wanted.pid;
}

static int enter(pid_t pid)
{
	char path[64];
	int fd, result;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	result = setns(fd, CLONE_NEWNET) == 0 ? 0 : -errno;
	close(fd);
	return result;
}

int namespace_work(pid_t pid, void (*work)(void *data), void *data)
{
	bool ours = namespace_of(pid) == kernel_namespace("net");
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), result = 0;

	if (home < 0)
		return -errno;
	if (!ours)
		result = enter(pid);
	if (result == 0)
		work(data);
	if (!ours)
		(void)!setns(home, CLONE_NEWNET);
	close(home);
	return result;
}

struct reading {
	struct kernel_table *table;
	uint32_t states;
	int result;
};

static void read_table(void *data)
{
	struct reading *reading = data;
	char error[160];

	reading->result =
	    kernel_table_read(reading->table, reading->states, error, sizeof(error));
}

int namespace_table_read(struct kernel_table *ret_table, pid_t pid, uint32_t states)
{
	struct reading reading = {ret_table, states, 0};
	int result = namespace_work(pid, read_table, &reading);

	return result ? result : reading.result;
}
