/* SPDX-License-Identifier: MIT */
#include "tools/observe/sightings.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/kernel/command_name.h"
#include "shim/shared/clock.h"
#include "shim/shared/names.h"
#include "tools/base/map.h"
#include "tools/base/print.h"
#include "tools/kernel/descriptors.h"
#include "tools/kernel/kernel.h"
#include "tools/kernel/proc_file.h"
#include "tools/kernel/process.h"
#include "tools/observe/cgroup.h"
#include "tools/observe/observation.h"

#define SIGHTINGS_MOST 4096
#define LOOK_EVERY_NS  10000000
#define TICK_NS	       10000000ull

/* States in which a process holds a connection. */
#define HELD                                                                             \
	(KERNEL_STATE(1) | KERNEL_STATE(2) | KERNEL_STATE(4) | KERNEL_STATE(5) |         \
	 KERNEL_STATE(8))

void sightings_free(struct sightings *sightings)
{
	free(sightings->list);
	*sightings = (struct sightings){0};
}

static struct sighting *add_sighting(struct sightings *sightings)
{
	size_t room = sightings->room ? sightings->room * 2 : 16;
	struct sighting *list;

	if (sightings->count == SIGHTINGS_MOST)
		return NULL;
	if (sightings->count == sightings->room) {
		list = reallocarray(sightings->list, room, sizeof(*list));
		if (!list)
			return NULL;
		sightings->list = list;
		sightings->room = room;
	}
	sightings->list[sightings->count] = (struct sighting){.processes = 1};
	return &sightings->list[sightings->count++];
}

static bool same_address(const struct tws_address *a, const struct tws_address *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* ------------------------------------------------------------------- who it is */

/* Returns the last ".service" or ".scope" in a path of control groups. */
static void unit_of(char *ret_unit, size_t size, const char *path)
{
	const char *part = path;
	size_t length;

	*ret_unit = '\0';
	while ((part = strchr(part, '/'))) {
		part++;
		length = strcspn(part, "/\n");
		if (length > 8 && strncmp(part + length - 8, ".service", 8) == 0)
			snprintf(ret_unit, size, "%.*s", (int)length, part);
	}
}

static void find_unit(struct sighting *sighting, const struct observed *observed)
{
	char text[4096];

	if ((sighting->alive &&
	     proc_read_of(sighting->pid, "cgroup", text, sizeof(text)) == 0) ||
	    (observed->cgroup && cgroup_of_id(observed->cgroup, text, sizeof(text)) == 0))
		unit_of(sighting->unit, sizeof(sighting->unit), text);
}

static void name_parent(struct sighting *sighting, const struct observed *observed)
{
	char path[64], words[1024];
	size_t length = 0;
	FILE *file;

	sighting->parent = observed->parent;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)observed->parent);
	file = observed->parent > 0 ? fopen(path, "re") : NULL;
	if (file) {
		length = fread(words, 1, sizeof(words), file);
		fclose(file);
	}
	command_name(sighting->parent_command, sizeof(sighting->parent_command), words,
		     length);
	if (!*sighting->parent_command)
		snprintf(sighting->parent_command, sizeof(sighting->parent_command), "%s",
			 observed->parent_comm);
}

static void identify(struct sighting *sighting, const struct observed *observed)
{
	snprintf(sighting->app, sizeof(sighting->app), "%.*s", SIGHTING_APP - 1,
		 tws_names_app(&observed->subject.names, observed->subject.exe));
	snprintf(sighting->command, sizeof(sighting->command), "%.*s",
		 SIGHTING_COMMAND - 1, observed->args);
	sighting->uid = observed->subject.uid;
	sighting->pid = observed->subject.host_pid ? observed->subject.host_pid
						   : (pid_t)observed->subject.pid;
	sighting->alive =
	    process_start_time(sighting->pid) == observed->subject.start_time;
	find_unit(sighting, observed);
	name_parent(sighting, observed);
}

/* ---------------------------------------------------------------- many into one */

/* Whether two sightings have the same parent and destination, and one of the processes
 * has gone. */
static bool is_same_storm(const struct sighting *a, const struct sighting *b)
{
	return a->pid != b->pid && a->parent == b->parent &&
	       same_address(&a->to, &b->to) && strcmp(a->app, b->app) == 0 &&
	       (!a->alive || !b->alive);
}

static void merge_storms(struct sightings *sightings)
{
	size_t kept = 0, at;
	struct sighting *list = sightings->list;

	for (size_t i = 0; i < sightings->count; i++) {
		for (at = 0; at < kept && !is_same_storm(&list[at], &list[i]);)
			at++;
		if (at == kept) {
			list[kept++] = list[i];
			continue;
		}
		list[at].processes += list[i].processes;
		list[at].connections += list[i].connections;
		list[at].looks += list[i].looks;
	}
	sightings->count = kept;
}

static int compare_sightings(const void *a, const void *b)
{
	const struct sighting *x = a, *y = b;

	if (x->connections != y->connections)
		return x->connections < y->connections ? 1 : -1;
	if (x->looks != y->looks)
		return x->looks < y->looks ? 1 : -1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static void put_in_order(struct sightings *sightings)
{
	merge_storms(sightings);
	if (sightings->count)
		qsort(sightings->list, sightings->count, sizeof(*sightings->list),
		      compare_sightings);
}

void sightings_keep(struct sightings *sightings, const struct tws_address *to,
		    size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < sightings->count; i++)
		for (size_t t = 0; t < count; t++)
			if (same_address(&sightings->list[i].to, &to[t])) {
				sightings->list[kept++] = sightings->list[i];
				break;
			}
	sightings->count = kept;
}

/* ------------------------------------------------------------------- by the kernel */

struct gathering {
	struct sightings *sightings;
	const struct observed *observed;
};

static void take_destination(const struct tws_address *to, uint64_t attempts, void *data)
{
	struct gathering *gathering = data;
	struct sighting *sighting = attempts ? add_sighting(gathering->sightings) : NULL;

	if (!sighting)
		return;
	sighting->to = *to;
	sighting->connections = attempts;
	identify(sighting, gathering->observed);
}

static void take_observed(const struct observed *observed, void *data)
{
	struct gathering gathering = {.sightings = data, .observed = observed};

	/* The same address in another network namespace is another destination. */
	if (observed->published &&
	    observed->subject.net_namespace == kernel_namespace("net"))
		publish_each_destination(observed->published, take_destination,
					 &gathering);
}

int sightings_count(struct sightings *ret_sightings, const struct publish_place *place,
		    double seconds)
{
	const struct observe_scope everything = {.kind = BPF_SCOPE_ALL};
	struct observation observation;
	struct pollfd wait = {.events = POLLIN};
	uint64_t until;
	char error[256];
	int result =
	    observation_begin(&observation, &everything, place, error, sizeof(error));

	*ret_sightings = (struct sightings){.counted = true, .seconds = seconds};
	if (result != 0)
		return result;
	wait.fd = observation_fd(&observation);
	for (until = tws_now() + (uint64_t)(seconds * 1e9); tws_now() < until;) {
		poll(&wait, 1, 50);
		/* Processes events without forgetting any process, because those that
		 * have ended are reported too. */
		observation_take(&observation);
	}
	bpf_source_read_all(observation.source);
	bpf_source_each(observation.source, take_observed, ret_sightings);
	observation_end(&observation);
	put_in_order(ret_sightings);
	return 0;
}

/* ----------------------------------------------------------------------- by looking */

struct looking {
	struct sightings *sightings;
	const struct tws_address *to;
	size_t count;
	struct observed_table observed;
	struct kernel_table table;
	struct cookie_map by_inode;
	pid_t pid;
	unsigned look;
	unsigned *seen_in; /* the last look in which each sighting was counted */
	uint64_t *start;   /* and the start time of its process */
};

static bool is_wanted(const struct looking *looking, const struct tws_address *to)
{
	for (size_t i = 0; i < looking->count; i++)
		if (same_address(&looking->to[i], to))
			return true;
	return false;
}

/* Returns the sighting of this process and destination; makes it if it is new. */
static struct sighting *find_sighting(struct looking *looking, uint64_t start,
				      const struct tws_address *to)
{
	struct sightings *sightings = looking->sightings;
	const struct bpf_process process = {.tgid = (uint32_t)looking->pid,
					    .start_ns = start * TICK_NS,
					    .image = BPF_IMAGE_UNKNOWN};
	struct observed *observed;
	struct sighting *made;

	for (size_t i = 0; i < sightings->count; i++)
		if (sightings->list[i].pid == looking->pid &&
		    looking->start[i] == start &&
		    same_address(&sightings->list[i].to, to))
			return &sightings->list[i];
	observed = observed_meet(&looking->observed, &process, 0);
	made = observed ? add_sighting(sightings) : NULL;
	if (!made)
		return NULL;
	made->to = *to;
	identify(made, observed);
	made->pid = looking->pid;
	looking->start[made - sightings->list] = start;
	return made;
}

static int take_inode(uint64_t inode, void *data)
{
	struct looking *looking = data;
	const uint32_t *index = cookie_map_find(&looking->by_inode, inode);
	struct sighting *sighting;
	size_t at;

	if (!index)
		return 0;
	sighting = find_sighting(looking, process_start_time(looking->pid),
				 &looking->table.sockets[*index].remote);
	if (!sighting)
		return 0;
	at = (size_t)(sighting - looking->sightings->list);
	sighting->looks += looking->seen_in[at] != looking->look;
	looking->seen_in[at] = looking->look;
	return 0;
}

static int take_process(pid_t pid, void *data)
{
	struct looking *looking = data;

	looking->pid = pid;
	if (pid != getpid())
		descriptors_each_socket(NULL, pid, take_inode, looking);
	return 0;
}

static void look(struct looking *looking)
{
	char error[160];

	looking->look++;
	cookie_map_clear(&looking->by_inode);
	kernel_table_free(&looking->table);
	if (kernel_table_read(&looking->table, HELD, error, sizeof(error)) != 0)
		return;
	for (size_t i = 0; i < looking->table.count; i++)
		if (looking->table.sockets[i].inode &&
		    is_wanted(looking, &looking->table.sockets[i].remote))
			cookie_map_add(&looking->by_inode,
				       looking->table.sockets[i].inode, (uint32_t)i);
	if (looking->by_inode.count)
		proc_each(take_process, looking);
}

int sightings_sample(struct sightings *ret_sightings, const struct tws_address *to,
		     size_t count, double seconds)
{
	const struct timespec pause = {0, LOOK_EVERY_NS};
	struct looking *looking = calloc(1, sizeof(*looking));
	uint64_t until = tws_now() + (uint64_t)(seconds * 1e9);

	*ret_sightings = (struct sightings){.seconds = seconds};
	if (!looking)
		return -ENOMEM;
	looking->sightings = ret_sightings;
	looking->to = to;
	looking->count = count;
	looking->seen_in = calloc(SIGHTINGS_MOST, sizeof(*looking->seen_in));
	looking->start = calloc(SIGHTINGS_MOST, sizeof(*looking->start));
	observed_init(&looking->observed);
	while (looking->seen_in && looking->start && tws_now() < until) {
		look(looking);
		nanosleep(&pause, NULL);
	}
	ret_sightings->looks = looking->look;
	put_in_order(ret_sightings);
	observed_free(&looking->observed);
	kernel_table_free(&looking->table);
	cookie_map_free(&looking->by_inode);
	free(looking->seen_in);
	free(looking->start);
	free(looking);
	return 0;
}

/* ------------------------------------------------------------------------ in words */

const char *sighting_describe(char *buffer, size_t size, const struct sighting *sighting)
{
	const struct passwd *user = getpwuid(sighting->uid);
	char number[32], command[2 * SIGHTING_COMMAND], parent[2 * SIGHTING_COMMAND];

	snprintf(number, sizeof(number), "%u", sighting->uid);
	print_escape(command, sizeof(command),
		     *sighting->command ? sighting->command : sighting->app);
	print_escape(parent, sizeof(parent), sighting->parent_command);
	if (sighting->processes > 1)
		snprintf(
		    buffer, size,
		    "%s: a new process each time, started by %d (%.60s), user %s%s%s",
		    command, (int)sighting->parent, parent, user ? user->pw_name : number,
		    *sighting->unit ? ", " : "", sighting->unit);
	else
		snprintf(buffer, size, "%s (pid %d%s, user %s%s%s)", command,
			 (int)sighting->pid, sighting->alive ? "" : ", exited",
			 user ? user->pw_name : number, *sighting->unit ? ", " : "",
			 sighting->unit);
	return buffer;
}

const char *sighting_how(char *buffer, size_t size, const struct sightings *sightings,
			 const struct sighting *sighting)
{
	if (sightings->counted)
		snprintf(buffer, size, "counted by the kernel, %.0f s",
			 sightings->seconds);
	else
		snprintf(buffer, size, "seen holding connections there, %u of %u looks",
			 sighting->looks < sightings->looks ? sighting->looks
							    : sightings->looks,
			 sightings->looks);
	return buffer;
}
