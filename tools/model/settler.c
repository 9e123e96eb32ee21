/* SPDX-License-Identifier: MIT
 *
 * One round: list the directories; of each segment that is not known to be settled and
 * whose process is dead, decide the open slots by the kernel's table and the destroy
 * messages. The table is read after the deaths are known, so a socket that is missing in
 * it has gone.
 */
#include "tools/model/settler.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/model/join.h"
#include "tools/segments/reader.h"
#include "tools/segments/rundir.h"

#define MS	       1000000ull
#define ROUND_MS       50   /* the shortest time between two rounds */
#define PER_MS	       50   /* messages that may come in a millisecond */
#define AFTER_MS       1500 /* after a message, a process may take so long to be reaped */
#define GIVE_UP_MS     1000 /* then a missing destroy message will not come */
#define FINISH_TRIES   10
#define KEPT_MESSAGES  32768
#define HELD_MS	       1000 /* how often to look at connections that a child holds */
#define STATES	       (KERNEL_STATES_ALL & ~KERNEL_STATE(TCP_LISTEN))
#define ENDING_AND_VIA 2
#define ENDING_OFFSET  offsetof(struct tws_connection, ending)

_Static_assert(offsetof(struct tws_connection, via) == ENDING_OFFSET + 1,
	       "the ending and the way are written at once");

struct settler {
	struct kernel_listener *listener;
	const char *dir; /* NULL: main and others */
	bool only;
	struct reader reader;
	uint64_t net_namespace;
	struct cookie_map known; /* by a hash of the file's name */
	struct cookie_map next;	 /* the same, of the round under way */
	struct kernel_table table;
	bool has_table; /* in this directory and round */
	uint64_t table_ns;
	uint64_t round_ns, until_ns; /* when the last round was, and the last should be */
	int look_ms;		     /* how long messages may wait in the queue */
	size_t waiting;		     /* segments that are not settled yet */
};

enum state {
	SETTLED, /* needs no further look */
	WAITING, /* for destroy messages */
	HELD,	 /* by a child, and otherwise settled */
};

/* What is remembered of a segment, as a word of `known`. */
struct memory {
	enum state state;
	uint32_t since_ms;
};

struct candidate {
	char name[NAME_MAX + 1];
	uint64_t key;
	struct memory memory;
};

/* -------------------------------------------------------------- one segment */

static void pause_ms(long milliseconds)
{
	const struct timespec pause = {0, milliseconds * (long)MS};

	nanosleep(&pause, NULL);
}

/* The kernel sends the messages from a work queue, a little late. */
static void read_settle_table(struct settler *settler)
{
	char error[160];

	if (settler->has_table)
		return;
	pause_ms(3);
	kernel_listener_drain(settler->listener);
	kernel_table_free(&settler->table);
	settler->table_ns = tws_now();
	settler->has_table =
	    kernel_table_read(&settler->table, STATES, error, sizeof(error)) == 0;
}

static bool is_undecided(const struct tws_connection *slot)
{
	return slot->state >= TWS_CONN_CONNECTING && slot->state <= TWS_CONN_ENDING &&
	       !(slot->flags & TWS_CONN_ADOPTED) &&
	       !(slot->via && slot->ending && !(slot->flags & TWS_CONN_LEFT)) &&
	       !(slot->state == TWS_CONN_ENDING && slot->ending);
}

/* Writes through a new descriptor of the same file, whatever its name refers to now. */
static void write_verdict(int fd, uint64_t offset, const struct join_verdict *verdict)
{
	const uint8_t bytes[ENDING_AND_VIA] = {(uint8_t)verdict->ending,
					       (uint8_t)verdict->via};
	char path[64];
	int writer;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (writer < 0)
		return;
	(void)!pwrite(writer, bytes, sizeof(bytes), (off_t)(offset + ENDING_OFFSET));
	close(writer);
}

static enum state worse(enum state a, enum state b)
{
	return a == WAITING || b == SETTLED ? a : b;
}

static enum state settle_slot(struct settler *settler, int fd, uint64_t offset,
			      struct tws_connection *slot, bool patient)
{
	const struct kernel_socket *socket;
	struct join_facts facts = {.slot = slot, .owner_gone = true};
	struct join_verdict verdict;

	/* A kill struck while it was ending: treat the slot as open. */
	if (slot->state == TWS_CONN_ENDING)
		slot->state = slot->established_ns ? TWS_CONN_OPEN : TWS_CONN_CONNECTING;
	socket = kernel_table_find_key(&settler->table, tws_socket_key(slot));
	join_learn(&facts, socket, kernel_listener_find(settler->listener, slot->cookie),
		   settler->table_ns);
	verdict = join_decide(&facts);
	if (!verdict.ended)
		return HELD;
	if (facts.where == JOIN_GONE && !facts.last_words && patient)
		return WAITING;
	if (verdict.ending != TWS_END_UNSEEN)
		write_verdict(fd, offset, &verdict);
	return SETTLED;
}

static enum state settle_slots(struct settler *settler, int fd,
			       const struct tws_header *header, bool patient)
{
	const struct tws_section *section = &header->section[TWS_SECTION_CONNECTIONS];
	size_t size = (size_t)section->used * section->element_size;
	struct tws_connection *slots = size ? malloc(size) : NULL;
	enum state state = SETTLED;
	uint64_t offset;

	if (!slots || pread(fd, slots, size, (off_t)section->offset) != (ssize_t)size) {
		free(slots);
		return SETTLED;
	}
	for (uint32_t i = 0; i < section->used; i++) {
		if (!is_undecided(&slots[i]))
			continue;
		read_settle_table(settler);
		if (!settler->has_table)
			break;
		offset = section->offset + (uint64_t)i * section->element_size;
		state =
		    worse(state, settle_slot(settler, fd, offset, &slots[i], patient));
	}
	free(slots);
	return state;
}

static enum state settle_file(struct settler *settler, int directory,
			      const struct candidate *candidate, bool patient)
{
	enum state state = SETTLED;
	struct tws_header header;
	int fd = -1;

	if (reader_open_file(&settler->reader, directory, candidate->name, &header, &fd))
		return SETTLED;
	if (header.state != TWS_SEGMENT_TOTALS && header.observer == TWS_OBSERVER_SHIM &&
	    header.net_namespace == settler->net_namespace)
		state = settle_slots(settler, fd, &header, patient);
	close(fd);
	return state;
}

/* -------------------------------------------------------------- directories */

static uint64_t hash_name(const char *name)
{
	uint64_t hash = 14695981039346656037ULL;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 1099511628211ULL;
	return hash ? hash : 1;
}

/* By the file's name, PIDNS-PID-START-IMAGE.seg. */
static bool is_dead(struct settler *settler, const char *name)
{
	char *end;
	uint64_t pid_namespace = strtoull(name, &end, 10), start_time = 0;
	pid_t pid = *end == '-' ? (pid_t)strtol(end + 1, &end, 10) : 0;

	if (*end == '-')
		start_time = strtoull(end + 1, &end, 10);
	return *end == '-' && process_life(&settler->reader.processes, pid_namespace, pid,
					   start_time) == PROCESS_DEAD;
}

static bool is_segment(const char *name)
{
	size_t length = strlen(name), end = strlen(TWS_SEGMENT_SUFFIX);

	return length > end && strcmp(name + length - end, TWS_SEGMENT_SUFFIX) == 0;
}

static void keep_memory(struct settler *settler, uint64_t key, struct memory memory)
{
	cookie_map_add(&settler->next, key,
		       memory.since_ms << 2 | (uint32_t)memory.state);
}

static bool has_memory(const struct settler *settler, uint64_t key,
		       struct memory *ret_memory)
{
	const uint32_t *word = cookie_map_find(&settler->known, key);

	if (word)
		*ret_memory = (struct memory){(enum state)(*word & 3), *word >> 2};
	return word != NULL;
}

static uint32_t milliseconds_since(uint32_t since_ms)
{
	return ((uint32_t)(tws_now() / MS) - since_ms) & UINT32_MAX >> 2;
}

static struct memory memory_of(enum state state)
{
	return (struct memory){state, (uint32_t)(tws_now() / MS) & UINT32_MAX >> 2};
}

/* Whether this name is to be settled now; then it is in *ret_candidate. */
static bool is_candidate(struct settler *settler, const char *name,
			 struct candidate *ret_candidate)
{
	struct memory memory = memory_of(WAITING);
	uint64_t key = hash_name(name);

	if (!is_segment(name))
		return false;
	if (has_memory(settler, key, &memory) &&
	    (memory.state == SETTLED ||
	     (memory.state == HELD && milliseconds_since(memory.since_ms) < HELD_MS))) {
		keep_memory(settler, key, memory);
		return false;
	}
	if (!is_dead(settler, name))
		return false;
	snprintf(ret_candidate->name, sizeof(ret_candidate->name), "%s", name);
	ret_candidate->key = key;
	ret_candidate->memory = memory;
	return true;
}

/* The dead segments of a directory, in new memory. */
static struct candidate *list_dead(struct settler *settler, int fd, size_t *ret_count)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	struct candidate *list = NULL, *grown, one;
	struct dirent *entry;

	*ret_count = 0;
	if (!directory && copy >= 0)
		close(copy);
	while (directory && (entry = readdir(directory))) {
		if (!is_candidate(settler, entry->d_name, &one))
			continue;
		grown = reallocarray(list, *ret_count + 1, sizeof(*list));
		if (!grown)
			break;
		list = grown;
		list[(*ret_count)++] = one;
	}
	if (directory)
		closedir(directory);
	return list;
}

static int settle_directory(int fd, const char *name, void *data)
{
	struct settler *settler = data;
	size_t count = 0;
	struct candidate *list =
	    reader_enter(&settler->reader, fd) ? list_dead(settler, fd, &count) : NULL;
	struct memory *memory;
	enum state state;
	bool patient;

	settler->has_table = false;
	for (size_t i = 0; i < count; i++) {
		memory = &list[i].memory;
		patient = memory->state == HELD ||
			  milliseconds_since(memory->since_ms) < GIVE_UP_MS;
		state = settle_file(settler, fd, &list[i], patient);
		settler->waiting += state == WAITING;
		if (state != WAITING || memory->state != WAITING)
			*memory = memory_of(state);
		keep_memory(settler, list[i].key, *memory);
	}
	free(list);
	return 0;
}

static int settle_tree(const char *path, void *data)
{
	tws_rundir_each(path, settle_directory, data);
	return 0;
}

static void settle_only(struct settler *settler)
{
	int fd = tws_rundir_open(settler->dir);

	if (fd < 0)
		return;
	settle_directory(fd, "", settler);
	close(fd);
}

static void settle_everywhere(struct settler *settler)
{
	char path[PATH_MAX];

	if (tws_rundir_find(path, sizeof(path)) == 0)
		settle_tree(path, settler);
	tws_rundir_others(settle_tree, settler);
}

static void settle_round(struct settler *settler)
{
	struct cookie_map before;

	settler->round_ns = tws_now();
	settler->waiting = 0;
	cookie_map_clear(&settler->next);
	process_view_free(&settler->reader.processes);
	process_view_init(&settler->reader.processes);
	allowance_renew(&settler->reader.allowances);
	if (settler->dir && settler->only)
		settle_only(settler);
	else if (settler->dir)
		settle_tree(settler->dir, settler);
	else
		settle_everywhere(settler);
	before = settler->known;
	settler->known = settler->next;
	settler->next = before;
}

/* ---------------------------------------------------------------- the whole */

/* An ordinary user's queue has little room. */
static int look_ms_of(size_t room)
{
	size_t ms = room / PER_MS;

	return ms < 1 ? 1 : ms > ROUND_MS ? ROUND_MS : (int)ms;
}

int settler_open(struct settler **ret_settler, const char *dir, bool only,
		 const struct kernel_source *better, char *ret_error, size_t size)
{
	struct settler *settler = calloc(1, sizeof(*settler));
	int result = settler ? reader_init(&settler->reader) : -ENOMEM;

	if (result == 0)
		result =
		    kernel_listener_open(&settler->listener, better, ret_error, size);
	else
		snprintf(ret_error, size, "%s", strerror(-result));
	if (result != 0) {
		settler_close(settler);
		return result;
	}
	kernel_listener_keep(settler->listener, KEPT_MESSAGES);
	settler->look_ms = look_ms_of(kernel_listener_room(settler->listener));
	settler->dir = dir;
	settler->only = only;
	settler->net_namespace = kernel_namespace("net");
	*ret_settler = settler;
	return 0;
}

int settler_fd(const struct settler *settler)
{
	return kernel_listener_fd(settler->listener);
}

struct kernel_listener *settler_listener(struct settler *settler)
{
	return settler->listener;
}

int settler_look(struct settler *settler)
{
	int messages = kernel_listener_drain(settler->listener);
	uint64_t now = tws_now();

	if (messages > 0)
		settler->until_ns = now + AFTER_MS * MS;
	if (now >= settler->until_ns && !settler->waiting)
		return -1;
	if (now - settler->round_ns >= ROUND_MS * MS)
		settle_round(settler);
	return settler->look_ms;
}

void settler_finish(struct settler *settler)
{
	for (int i = 0; i < FINISH_TRIES; i++) {
		kernel_listener_drain(settler->listener);
		settle_round(settler);
		if (!settler->waiting)
			return;
		pause_ms(20);
	}
}

void settler_close(struct settler *settler)
{
	if (!settler)
		return;
	kernel_listener_close(settler->listener);
	kernel_table_free(&settler->table);
	cookie_map_free(&settler->known);
	cookie_map_free(&settler->next);
	reader_free(&settler->reader);
	free(settler);
}
