/* SPDX-License-Identifier: MIT */
#include "tools/observe/observed.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/shared/names.h"
#include "tools/base/print.h"
#include "tools/kernel/command_name.h"
#include "tools/kernel/kernel.h"
#include "tools/kernel/proc_file.h"
#include "tools/kernel/process.h"
#include "tools/kernel/process_names.h"
#include "tools/observe/cgroup.h"

/* The first pid namespace's inode, fixed in the kernel. */
#define INITIAL_PID_NAMESPACE 0xeffffffcu
#define TICK_NS		      10000000ull /* the unit of times in /proc, USER_HZ */
#define DEAD_SWEEPS	      120

void observed_init(struct observed_table *table)
{
	*table = (struct observed_table){.pid_namespace = kernel_namespace("pid")};
}

void observed_free(struct observed_table *table)
{
	struct observed *next;

	for (size_t i = 0; i < OBSERVED_BUCKETS; i++)
		for (struct observed *at = table->buckets[i]; at; at = next) {
			next = at->next;
			free(at);
		}
	*table = (struct observed_table){0};
}

static struct observed **bucket_of(struct observed_table *table, uint32_t tgid)
{
	return &table->buckets[tgid % OBSERVED_BUCKETS];
}

/* A process that was found in /proc is known by the clock tick of its start. */
static bool is_same(const struct bpf_process *a, const struct bpf_process *b)
{
	if (a->tgid != b->tgid)
		return false;
	if (a->image == BPF_IMAGE_UNKNOWN || b->image == BPF_IMAGE_UNKNOWN)
		return a->start_ns / TICK_NS == b->start_ns / TICK_NS;
	return a->start_ns == b->start_ns && a->image == b->image;
}

struct observed *observed_find(const struct observed_table *table,
			       const struct bpf_process *process)
{
	struct observed *at = table->buckets[process->tgid % OBSERVED_BUCKETS];

	while (at && !is_same(&at->process, process))
		at = at->next;
	return at;
}

static struct observed *new_observed(struct observed_table *table,
				     const struct bpf_process *process)
{
	struct observed **bucket = bucket_of(table, process->tgid);
	struct observed *made = calloc(1, sizeof(*made));

	if (!made)
		return NULL;
	for (struct observed *at = *bucket; at; at = at->next)
		if (at->process.tgid == process->tgid && at->published)
			publish_replaced(at->published);
	made->process = *process;
	made->subject.start_time = process->start_ns / TICK_NS;
	made->next = *bucket;
	*bucket = made;
	return made;
}

/* ---------------------------------------------------------------------- who it is */

bool observed_is_there(const struct observed *observed)
{
	return observed->subject.host_pid &&
	       process_start_time(observed->subject.host_pid) ==
		   observed->subject.start_time;
}

/* Whether two paths name one program. The kernel sends the start of a long name, and
 * /proc marks a file that was removed or replaced. */
static bool same_program(const char *exe, const char *told)
{
	const char *name = print_base_name(exe), *start = print_base_name(told);
	size_t length = strnlen(start, BPF_PART_SIZE - 1);

	return strncmp(name, start, length) == 0 &&
	       (length == BPF_PART_SIZE - 1 || !name[length] ||
		strcmp(name + length, " (deleted)") == 0);
}

/* False: the process has ended, or runs another program than `told` by now. */
static bool read_executable(struct observed *observed, const char *told)
{
	char path[64], exe[sizeof(observed->subject.exe)];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)observed->subject.host_pid);
	length = readlink(path, exe, sizeof(exe) - 1);
	exe[length > 0 ? length : 0] = '\0';
	if (length <= 0 || !observed_is_there(observed))
		return false;
	if (*told && !same_program(exe, told))
		return false;
	memcpy(observed->subject.exe, exe, (size_t)length + 1);
	return true;
}

/* The kernel sends the components from the last to the first; mount points are empty. */
static void join_path(struct observed *observed, const struct bpf_subject *told)
{
	char *exe = observed->subject.exe;
	size_t used = 0, size = sizeof(observed->subject.exe);

	*exe = '\0';
	for (uint32_t i = told->parts < BPF_PATH_PARTS ? told->parts : BPF_PATH_PARTS;
	     i-- > 0;)
		if (*told->part[i] && used < size)
			used += (size_t)snprintf(exe + used, size - used, "/%.*s",
						 BPF_PART_SIZE - 1, told->part[i]);
}

static void take_arguments(struct observed *observed, const char *args, size_t length)
{
	command_name(observed->args, sizeof(observed->args), args, length);
}

/* Its number in our own pid namespace; 0 if it has none there. */
static pid_t host_pid(const struct observed_table *table, uint32_t tgid,
		      uint64_t pid_namespace, uint32_t pid)
{
	if (pid_namespace == table->pid_namespace)
		return (pid_t)pid;
	return table->pid_namespace == INITIAL_PID_NAMESPACE ? (pid_t)tgid : 0;
}

/* What the kernel said of a process at its first connection, if it has ended since or
 * runs another program: the arguments and the group. */
static void name_as_told(struct observed *observed, const struct bpf_subject *told)
{
	struct publish_subject *subject = &observed->subject;
	char group[4096], cgroup[sizeof(group) + 8];
	uint32_t length = told->args_length < sizeof(told->args) ? told->args_length
								 : sizeof(told->args);

	memset(&subject->names, 0, sizeof(subject->names));
	tws_names_script(&subject->names, subject->exe, told->args, length);
	if (cgroup_of_id(told->cgroup, group, sizeof(group)) == 0) {
		snprintf(cgroup, sizeof(cgroup), "0::%s", group);
		tws_names_cgroup(&subject->names, cgroup);
	}
}

static void name_subject(const struct observed_table *table, struct observed *observed,
			 const struct bpf_subject *told)
{
	struct publish_subject *subject = &observed->subject;

	if (subject->host_pid)
		process_names(subject->host_pid, subject->exe, &subject->names);
	if (told)
		name_as_told(observed, told);
	if (subject->pid_namespace == table->pid_namespace)
		subject->names.parent = (uint32_t)observed->parent;
}

struct observed *observed_tell(struct observed_table *table,
			       const struct bpf_subject *told)
{
	struct observed *observed = observed_find(table, &told->process);
	struct publish_subject *subject;
	bool same;

	if (observed) {
		observed->process = told->process;
		return observed;
	}
	observed = new_observed(table, &told->process);
	if (!observed)
		return NULL;
	subject = &observed->subject;
	subject->pid = told->pid;
	subject->pid_namespace = told->pid_namespace;
	subject->net_namespace = told->net_namespace;
	subject->uid = told->uid;
	subject->host_pid =
	    host_pid(table, told->process.tgid, told->pid_namespace, told->pid);
	observed->parent = (pid_t)told->parent;
	observed->cgroup = told->cgroup;
	memcpy(observed->comm, told->comm, sizeof(observed->comm) - 1);
	memcpy(observed->parent_comm, told->parent_comm,
	       sizeof(observed->parent_comm) - 1);
	take_arguments(observed, told->args, told->args_length);
	join_path(observed, told);
	same = read_executable(observed, observed->subject.exe);
	if (!*subject->exe)
		snprintf(subject->exe, sizeof(subject->exe), "%s", observed->comm);
	name_subject(table, observed, same ? NULL : told);
	return observed;
}

static uint64_t namespace_of(pid_t pid, const char *name)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static void read_status(struct observed *observed)
{
	struct publish_subject *subject = &observed->subject;
	char status[4096];
	const char *at;
	int levels;

	if (proc_read_of(subject->host_pid, "status", status, sizeof(status)) != 0)
		return;
	sscanf(status, "Name: %15s", observed->comm);
	at = strstr(status, "\nUid:");
	if (at)
		sscanf(at, "\nUid: %*u %u", &subject->uid);
	at = strstr(status, "\nPPid:");
	if (at)
		sscanf(at, "\nPPid: %d", &observed->parent);
	subject->pid = (uint32_t)proc_innermost_pid(status, &levels);
	if (!subject->pid)
		subject->pid = (uint32_t)subject->host_pid;
}

static void read_arguments(struct observed *observed)
{
	char path[64], args[BPF_ARGS_SIZE];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)observed->subject.host_pid);
	file = fopen(path, "re");
	if (!file)
		return;
	take_arguments(observed, args, fread(args, 1, sizeof(args), file));
	fclose(file);
}

struct observed *observed_meet(struct observed_table *table,
			       const struct bpf_process *process, uint32_t net_namespace)
{
	struct observed *observed = observed_find(table, process);
	struct publish_subject *subject;

	if (!observed)
		observed = new_observed(table, process);
	if (!observed || observed->subject.pid)
		return observed;
	subject = &observed->subject;
	subject->pid = process->tgid;
	subject->host_pid = (pid_t)process->tgid;
	subject->pid_namespace = namespace_of(subject->host_pid, "pid");
	subject->net_namespace =
	    net_namespace ? net_namespace : namespace_of(subject->host_pid, "net");
	read_status(observed);
	read_arguments(observed);
	if (!read_executable(observed, ""))
		snprintf(subject->exe, sizeof(subject->exe), "%s",
			 *observed->comm ? observed->comm : "?");
	name_subject(table, observed, NULL);
	return observed;
}

/* --------------------------------------------------------------------- leaving it */

void observed_forget(struct observed_table *table, const struct published *published,
		     pid_t host)
{
	struct observed **at, *gone;

	/* If the numbers differ, as in a pid namespace below ours, all buckets are
	 * searched. */
	for (size_t i = 0; i < OBSERVED_BUCKETS; i++) {
		at = &table->buckets[((uint32_t)host + i) % OBSERVED_BUCKETS];
		while (*at && (*at)->published != published)
			at = &(*at)->next;
		if (!*at)
			continue;
		gone = *at;
		*at = gone->next;
		free(gone);
		return;
	}
}

void observed_sweep(struct observed_table *table)
{
	struct observed **at, *gone;

	for (size_t i = 0; i < OBSERVED_BUCKETS; i++)
		for (at = &table->buckets[i]; *at;) {
			gone = *at;
			if (gone->published || gone->adopted || observed_is_there(gone) ||
			    gone->dead_sweeps++ < DEAD_SWEEPS) {
				at = &gone->next;
				continue;
			}
			*at = gone->next;
			free(gone);
		}
}
