/* SPDX-License-Identifier: MIT
 *
 * One file: whether it is one of our segments, and what is in it. tree.c reads the
 * directories.
 */
#include "tools/segments/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/kernel/proc_file.h"
#include "tools/segments/beneath.h"
#include "tools/segments/cache.h"
#include "tools/segments/seen.h"
#include "shim/shared/layout.h"
#include "shim/shared/slices.h"

struct reader_buffer {
	void *bytes;
	size_t room;
};

/* The first bytes of a file. The shim puts the header and the process section there. */
#define FRONT_SIZE (4096 + sizeof(struct tws_counters))

struct reader_front {
	union {
		struct tws_header header;
		char bytes[FRONT_SIZE];
	};
	size_t length;
};

const char reader_too_much[] = "its user's files are too many or too large";
static const char shrank[] = "shrank while it was read";

int reader_init(struct reader *reader)
{
	*reader = (struct reader){0};
	process_view_init(&reader->processes);
	reader->has_boot_id = proc_boot_id(reader->boot_id);
	reader->buffers = calloc(TWS_SECTIONS + 1, sizeof(*reader->buffers));
	reader->front = malloc(sizeof(*reader->front));
	return reader->buffers && reader->front ? 0 : -ENOMEM;
}

void reader_free(struct reader *reader)
{
	size_t named = reader->skipped_count;

	if (named > READER_SKIPPED_MAX)
		named = READER_SKIPPED_MAX;
	for (size_t i = 0; reader->skipped && i < named; i++)
		free(reader->skipped[i].name);
	free(reader->skipped);
	for (size_t i = 0; reader->buffers && i <= TWS_SECTIONS; i++)
		free(reader->buffers[i].bytes);
	free(reader->buffers);
	free(reader->front);
	process_view_free(&reader->processes);
	allowance_free(&reader->allowances);
	*reader = (struct reader){0};
}

/* Returns how many bytes of `size` could be read; an error counts as the end. */
static size_t read_some(int fd, void *ret_bytes, size_t size, uint64_t offset)
{
	size_t done = 0;
	ssize_t length;

	while (done < size) {
		length = pread(fd, (char *)ret_bytes + done, size - done,
			       (off_t)(offset + done));
		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			break;
		done += (size_t)length;
	}
	return done;
}

/* Reads exactly `size` bytes. False: there are fewer. */
static bool read_fully(int fd, void *ret_bytes, size_t size, uint64_t offset)
{
	return read_some(fd, ret_bytes, size, offset) == size;
}

static const char *check_file(const struct stat *st)
{
	if (S_ISFIFO(st->st_mode))
		return "a FIFO";
	if (!S_ISREG(st->st_mode))
		return "no regular file";
	if (st->st_nlink == 0)
		return ""; /* removed since we opened it */
	if (st->st_nlink != 1)
		return "has a second hard link";
	if (st->st_size > READER_SIZE_MAX)
		return "oversized";
	return NULL;
}

/* Its owner pays, and so does the owner of the directory, who may have the files of many
 * users in there: those of a range of subordinate user IDs. */
static bool take_of_users(struct reader *reader, uint32_t files, uint64_t bytes)
{
	return (reader->file_user == reader->directory_user ||
		allowance_take(&reader->allowances, reader->file_user, files, bytes)) &&
	       allowance_take(&reader->allowances, reader->directory_user, files, bytes);
}

static bool is_trusted(const struct reader *reader)
{
	return allowance_is_trusted(reader->file_user) &&
	       allowance_is_trusted(reader->directory_user);
}

bool reader_enter(struct reader *reader, int directory)
{
	struct stat st;

	if (fstat(directory, &st) != 0)
		return false;
	reader->directory_user = reader->file_user = st.st_uid;
	return take_of_users(reader, 1, 0);
}

/* Root may write on behalf of anybody's process. */
static bool is_by_root(const struct stat *st, const struct tws_header *header)
{
	return st->st_uid == 0 && header->observer != TWS_OBSERVER_SHIM;
}

/* Compares the claims of a header with what we know about the file and this host. */
static const char *check_header(struct reader *reader, const struct stat *st,
				const struct tws_header *header)
{
	if (header->uid != st->st_uid && !is_by_root(st, header))
		return "its owner is not the process's user";
	if (reader->has_boot_id && memcmp(header->boot_id, reader->boot_id, 16) != 0)
		return "from another boot";
	if (header->state != TWS_SEGMENT_TOTALS && !allowance_is_trusted(st->st_uid) &&
	    !process_may_be_of(&reader->processes, header->pid_namespace,
			       (pid_t)header->pid, header->start_time, header->uid))
		return "claims a process of another user";
	return NULL;
}

/* Reads the header into the front; the file may be shorter than that. */
static const char *read_header(struct reader *reader, int fd, const struct stat *st,
			       struct tws_header *ret_header)
{
	struct reader_front *front = reader->front;
	size_t length = sizeof(front->bytes), needed = sizeof(front->header);

	if ((uint64_t)st->st_size < length)
		length = (size_t)st->st_size;
	if (length == 0)
		return "empty";
	if (length < needed) {
		memset(&front->header, 0, needed);
		needed = length;
	}
	front->length = read_some(fd, front->bytes, length, 0);
	if (front->length < needed)
		return shrank;
	*ret_header = front->header;
	return tws_segment_validate(ret_header, needed, (uint64_t)st->st_size);
}

/* Reads the used elements of a section into its buffer. `id`: TWS_SECTIONS: slices. */
static const char *read_section(struct reader *reader, int fd, struct segment *segment,
				unsigned id, void **ret_elements)
{
	const struct tws_section *section =
	    id < TWS_SECTIONS ? &segment->header.section[id] : &segment->header.slices;
	struct reader_buffer *buffer = &reader->buffers[id];
	size_t size = (size_t)section->used * section->element_size;
	void *grown;

	*ret_elements = NULL;
	segment->used[id] = section->count ? section->used : 0;
	if (reader->without & 1u << id)
		segment->used[id] = 0;
	if (!segment->used[id])
		return NULL;
	if (!take_of_users(reader, 0, size))
		return reader_too_much;
	if (size > buffer->room) {
		grown = realloc(buffer->bytes, size);
		if (!grown)
			return "out of memory";
		buffer->bytes = grown;
		buffer->room = size;
	}
	if (!read_fully(fd, buffer->bytes, size, section->offset))
		return shrank;
	*ret_elements = buffer->bytes;
	return NULL;
}

static const char *read_process(struct reader *reader, int fd, struct segment *segment)
{
	const uint64_t offset = segment->header.section[TWS_SECTION_PROCESS].offset;
	const struct reader_front *front = reader->front;
	const size_t size = sizeof(segment->process);

	if (front->length >= size && offset <= front->length - size) {
		memcpy(&segment->process, front->bytes + offset, size);
		return NULL;
	}
	return read_fully(fd, &segment->process, size, offset) ? NULL : shrank;
}

/* Whether no process writes to it any more: its process is dead, which was known before
 * the first byte was read, and has left no connection that another process here could
 * still end. */
static bool is_at_rest(const struct segment *segment)
{
	if (segment->life != PROCESS_DEAD)
		return false;
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_CONNECTIONS]; i++)
		if (segment->connections[i].state != TWS_CONN_FREE)
			return false;
	return true;
}

/* Reads the number of tickets last, because a later ticket overwrites a record of the
 * ring. */
static const char *read_tickets(int fd, struct segment *segment)
{
	if (!segment->used[TWS_SECTION_ENDED] || is_at_rest(segment))
		return NULL;
	return read_fully(fd, &segment->header.ended_tickets,
			  sizeof(segment->header.ended_tickets),
			  offsetof(struct tws_header, ended_tickets))
		   ? NULL
		   : shrank;
}

/* Reads counters before connections, and connections before the rings: a connection
 * that changes meanwhile is missing at worst, and never counted twice. */
static const char *read_sections(struct reader *reader, int fd, struct segment *segment)
{
	const struct {
		unsigned id;
		void **elements;
	} order[] = {
	    {TWS_SECTION_DESTINATIONS, (void **)&segment->destinations},
	    {TWS_SECTION_ARMS, (void **)&segment->arms},
	    {TWS_SECTION_RULES, (void **)&segment->rules},
	    {TWS_SECTION_CONNECTIONS, (void **)&segment->connections},
	    {TWS_SECTION_ENDED, (void **)&segment->ended},
	    {TWS_SECTION_TIME_WAIT, (void **)&segment->time_wait},
	    {TWS_SECTION_FOLDED, (void **)&segment->folded},
	};
	const char *why = read_process(reader, fd, segment);

	for (size_t i = 0; !why && i < sizeof(order) / sizeof(*order); i++)
		why = read_section(reader, fd, segment, order[i].id, order[i].elements);
	if (!why && !tws_slices_validate(&segment->header))
		why = read_section(reader, fd, segment, TWS_SECTIONS,
				   (void **)&segment->slices);
	return why ? why : read_tickets(fd, segment);
}

bool segment_ended_is_whole(const struct segment *segment, uint32_t index)
{
	const uint64_t count = segment->header.section[TWS_SECTION_ENDED].count;
	const uint64_t sequence = segment->ended[index].sequence;
	const uint64_t tickets = segment->header.ended_tickets;

	return sequence && (sequence - 1) % count == index && sequence <= tickets &&
	       tickets - sequence < count;
}

/* Whether it is one of our segments; returns its header. */
static const char *examine(struct reader *reader, int directory, int fd,
			   struct stat *ret_stat, struct tws_header *ret_header)
{
	const char *why;

	if (fstat(fd, ret_stat) != 0)
		return "cannot be examined";
	reader->file_user = ret_stat->st_uid;
	if (!take_of_users(reader, 1, 0))
		return reader_too_much;
	why = check_file(ret_stat);
	if (!why && ret_stat->st_uid != 0 && seen_is_one(directory))
		why = "not root's, where only root's files count";
	if (!why)
		why = read_header(reader, fd, ret_stat, ret_header);
	if (!why)
		why = check_header(reader, ret_stat, ret_header);
	return why;
}

struct identity {
	uint64_t pid_namespace;
	uint64_t pid;
	uint64_t start_time;
};

/* Reads the identity from the name of the file. It is a hint, and valid only if the
 * header agrees. Zeros: the name has none. */
static struct identity identity_in_name(const char *name)
{
	struct identity identity = {0};
	char *end;

	identity.pid_namespace = strtoull(name, &end, 10);
	if (*end == '-')
		identity.pid = strtoull(end + 1, &end, 10);
	if (*end == '-')
		identity.start_time = strtoull(end + 1, &end, 10);
	return *end == '-' ? identity : (struct identity){0};
}

static bool identity_is_same(const struct identity *identity,
			     const struct tws_header *header)
{
	return identity->pid_namespace == header->pid_namespace &&
	       identity->pid == header->pid && identity->start_time == header->start_time;
}

static enum process_life life_of(struct reader *reader, const struct identity *identity)
{
	return process_life(&reader->processes, identity->pid_namespace,
			    (pid_t)identity->pid, identity->start_time);
}

bool reader_observer_lives(struct reader *reader, const struct tws_header *header)
{
	return header->observer != TWS_OBSERVER_SHIM &&
	       header->state != TWS_SEGMENT_TOTALS &&
	       process_life(&reader->processes, header->observer_pid_namespace,
			    (pid_t)header->observer_pid,
			    header->observer_start_time) == PROCESS_ALIVE;
}

/* The segment of a dead process is at rest only if the process was known to be dead
 * before: ask first. */
static const char *read_open_file(struct reader *reader, int directory, int fd,
				  struct segment *segment, const struct identity *named,
				  enum process_life life)
{
	struct tws_header *header = &segment->header;
	struct stat st;
	const char *why = examine(reader, directory, fd, &st, header);

	if (why)
		return why;
	if (!reader_wants(reader, header))
		return "of another run";
	segment->life = header->state == TWS_SEGMENT_TOTALS ? PROCESS_DEAD : life;
	segment->by_root = is_by_root(&st, header);
	segment->is_observed = reader_observer_lives(reader, header);
	if (header->state != TWS_SEGMENT_TOTALS && !identity_is_same(named, header)) {
		segment->life = process_life(&reader->processes, header->pid_namespace,
					     (pid_t)header->pid, header->start_time);
		why = read_header(reader, fd, &st, header);
	}
	if (!why)
		why = read_sections(reader, fd, segment);
	if (!why && reader->cache && is_trusted(reader) &&
	    header->state != TWS_SEGMENT_TOTALS && is_at_rest(segment))
		reader_cache_keep(reader->cache, &st, segment);
	return why;
}

const char *reader_open_file(struct reader *reader, int directory, const char *name,
			     struct tws_header *ret_header, int *ret_fd)
{
	int fd = open_beneath(directory, name, 0);
	const char *why;
	struct stat st;

	if (fd < 0)
		return open_beneath_failure(fd);
	why = examine(reader, directory, fd, &st, ret_header);
	if (why)
		close(fd);
	else
		*ret_fd = fd;
	return why;
}

static const char *read_by_name(struct reader *reader, int directory, const char *name,
				struct segment *segment)
{
	const struct identity named = identity_in_name(name);
	const enum process_life life = life_of(reader, &named);
	int fd = open_beneath(directory, name, 0);
	const char *why;

	if (fd < 0)
		return open_beneath_failure(fd);
	why = read_open_file(reader, directory, fd, segment, &named, life);
	close(fd);
	return why;
}

const char *reader_read_file(struct reader *reader, int directory, const char *name,
			     reader_taker take, void *data, int *ret_taken)
{
	struct segment *segment = calloc(1, sizeof(*segment));
	const char *why = NULL;

	if (!segment)
		return "out of memory";
	segment->directory = "";
	segment->name = name;
	if (!reader->cache ||
	    !reader_cache_recall(reader->cache, directory, name, segment))
		why = read_by_name(reader, directory, name, segment);
	if (!why)
		*ret_taken = take(segment, data);
	free(segment);
	return why;
}
