/* SPDX-License-Identifier: MIT
 *
 * The rings of the segments that are followed. A record is taken if its sequence is right
 * and its place was not given to a later ticket while we read.
 */
#include "tools/trace/follow_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/kernel/kernel.h"

#define SECOND_NS 1000000000ull
#define BATCH	  256 /* records read at once */
#define ROUNDS	  4 /* of a ring, in one look: its writer could keep us at it for ever */
/* A record that is not whole for so long: its writer is dead, or had no memory for it. */
#define STUCK_NS SECOND_NS

/* --------------------------------------------------------------------- events */

struct follow_event *follow_event_new(struct follow *follow,
				      const struct followed *segment)
{
	size_t room = follow->event_room ? follow->event_room * 2 : 256;
	struct follow_event *event;

	if (follow->event_count == follow->event_room) {
		event = reallocarray(follow->events, room, sizeof(*event));
		if (!event) {
			follow->failed = true;
			return NULL;
		}
		follow->events = event;
		follow->event_room = room;
	}
	event = &follow->events[follow->event_count++];
	memset(event, 0, sizeof(*event));
	event->process = &segment->process;
	return event;
}

static void read_name(const struct followed *segment, enum tws_section_id id,
		      uint64_t element, size_t member, char ret_name[TWS_NAME_SIZE])
{
	const struct tws_section *section = &segment->header.section[id];
	uint64_t at = section->offset + element * section->element_size + member;

	if (element < section->count)
		(void)!pread(segment->fd, ret_name, TWS_NAME_SIZE - 1, (off_t)at);
	ret_name[TWS_NAME_SIZE - 1] = '\0';
}

void follow_name_event(const struct followed *segment, struct follow_event *event)
{
	if (event->ended.rule)
		read_name(segment, TWS_SECTION_RULES, event->ended.rule - 1u,
			  offsetof(struct tws_rule_status, name), event->rule);
	if (event->ended.arm)
		read_name(segment, TWS_SECTION_ARMS, event->ended.arm - 1u,
			  offsetof(struct tws_arm, name), event->arm);
}

static void note_missed(struct follow *follow, const struct followed *segment,
			uint64_t missed)
{
	struct follow_event *event = follow_event_new(follow, segment);

	if (!event)
		return;
	event->missed = missed;
	event->ended.ended_ns = tws_now();
}

/* ---------------------------------------------------------------------- rings */

static bool read_tickets(const struct followed *segment, uint64_t *ret_tickets)
{
	return pread(segment->fd, ret_tickets, sizeof(*ret_tickets),
		     offsetof(struct tws_header, ended_tickets)) == sizeof(*ret_tickets);
}

static void take_record(struct follow *follow, const struct followed *segment,
			const struct tws_ended *record)
{
	struct follow_event *event = follow_event_new(follow, segment);

	if (!event)
		return;
	event->ended = *record;
	follow_name_event(segment, event);
}

/* Whether to wait for a record that is not whole yet. */
static bool is_pending(struct followed *segment, uint64_t now)
{
	if (!segment->stuck_ns)
		segment->stuck_ns = now;
	return now - segment->stuck_ns < STUCK_NS;
}

/* Takes what is whole of `count` records from ticket `next` on. How many were dealt with;
 * fewer where one is still being written. */
static uint32_t take_records(struct follow *follow, struct followed *segment,
			     const struct tws_ended *records, uint32_t count,
			     uint64_t tickets, uint64_t now)
{
	const uint32_t size = segment->header.section[TWS_SECTION_ENDED].count;
	uint64_t missed = 0, ticket;
	uint32_t i;

	for (i = 0; i < count; i++) {
		ticket = segment->next + i;
		if (records[i].sequence == ticket + 1 && tickets <= ticket + size)
			take_record(follow, segment, &records[i]);
		else if (tickets <= ticket + size && is_pending(segment, now))
			break;
		else
			missed++;
		segment->stuck_ns = 0;
	}
	if (missed)
		note_missed(follow, segment, missed);
	return i;
}

/* One stretch that does not wrap. False: there is nothing more to read now. */
static bool read_stretch(struct follow *follow, struct followed *segment,
			 uint64_t *tickets, uint64_t now)
{
	const struct tws_section *ring = &segment->header.section[TWS_SECTION_ENDED];
	uint32_t at = (uint32_t)(segment->next % ring->count), done;
	uint64_t count = *tickets - segment->next;
	struct tws_ended records[BATCH];
	size_t size;

	if (count > BATCH)
		count = BATCH;
	if (count > ring->count - at)
		count = ring->count - at;
	size = (size_t)count * sizeof(*records);
	if (pread(segment->fd, records, size,
		  (off_t)(ring->offset + (uint64_t)at * sizeof(*records))) !=
		(ssize_t)size ||
	    !read_tickets(segment, tickets))
		return false;
	done = take_records(follow, segment, records, (uint32_t)count, *tickets, now);
	segment->next += done;
	return done == count && segment->next < *tickets && !follow->failed;
}

static void read_ring(struct follow *follow, struct followed *segment, uint64_t now)
{
	const uint32_t size = segment->header.section[TWS_SECTION_ENDED].count;
	uint64_t tickets;

	if (!size || !read_tickets(segment, &tickets) || tickets <= segment->next)
		return;
	if (tickets - segment->next > size) {
		note_missed(follow, segment, tickets - size - segment->next);
		segment->next = tickets - size;
		segment->stuck_ns = 0;
	}
	for (uint32_t left = ROUNDS * (size / BATCH + 2); left; left--)
		if (!read_stretch(follow, segment, &tickets, now))
			break;
}

/* ----------------------------------------------------------------- processes */

static bool is_dead(struct follow *follow, const struct followed *segment)
{
	const struct tws_header *header = &segment->header;

	return process_life(&follow->reader.processes, header->pid_namespace,
			    (pid_t)header->pid, header->start_time) == PROCESS_DEAD;
}

/* A process that says it exits is looked at each time, another once a second; and where
 * it was born within the second, each time: most die young. */
static bool is_due(struct followed *segment, uint64_t now)
{
	uint32_t state = TWS_SEGMENT_LIVE;

	if (pread(segment->fd, &state, sizeof(state),
		  offsetof(struct tws_header, state)) != sizeof(state))
		return true;
	if (state == TWS_SEGMENT_LIVE && now < segment->next_look_ns &&
	    now > segment->header.created_monotonic_ns + SECOND_NS)
		return false;
	segment->next_look_ns = now + SECOND_NS;
	return true;
}

/* Known to be dead before its ring is read for the last time. */
static void read_segment(struct follow *follow, struct followed *segment, uint64_t now)
{
	bool dead = is_due(segment, now) && is_dead(follow, segment);

	read_ring(follow, segment, now);
	if (!dead || segment->stuck_ns)
		return;
	follow_read_open(follow, segment);
	close(segment->fd);
	segment->fd = -1;
}

static struct followed *find(const struct follow *follow, const struct stat *st)
{
	for (size_t i = 0; i < follow->segment_count; i++)
		if (follow->segments[i]->inode == st->st_ino &&
		    follow->segments[i]->device == st->st_dev)
			return follow->segments[i];
	return NULL;
}

static struct followed *new_segment(struct follow *follow)
{
	size_t room = follow->segment_room ? follow->segment_room * 2 : 64;
	struct followed **grown, *segment;

	if (follow->segment_count == follow->segment_room) {
		grown = reallocarray(follow->segments, room, sizeof(*grown));
		if (!grown)
			return NULL;
		follow->segments = grown;
		follow->segment_room = room;
	}
	segment = calloc(1, sizeof(*segment));
	if (segment)
		follow->segments[follow->segment_count++] = segment;
	return segment;
}

static void describe(struct followed *segment)
{
	const struct tws_header *header = &segment->header;
	const char *slash = strrchr(header->exe, '/');

	segment->process = (struct follow_process){
	    .pid = header->pid,
	    .uid = header->uid,
	    .detail = header->detail,
	    .exe = header->exe,
	    .name = slash && slash[1] ? slash + 1 : header->exe,
	};
}

/* Whether this file has nothing to come: totals, or dead before we began. */
static bool is_over(struct follow *follow, struct followed *segment)
{
	return segment->header.state == TWS_SEGMENT_TOTALS ||
	       (!follow->begun && is_dead(follow, segment));
}

static void begin(struct follow *follow, struct followed *segment, int fd)
{
	segment->fd = fd;
	describe(segment);
	if (!follow->begun && read_tickets(segment, &segment->next))
		return;
	segment->next = 0;
}

/* Renamed, and known by its inode: a run's segments go up into the main directory. */
static bool is_known(struct follow *follow, const struct stat *st, int watch,
		     const char *name)
{
	struct followed *segment = find(follow, st);

	if (!segment)
		return false;
	segment->watch = watch;
	snprintf(segment->name, sizeof(segment->name), "%s", name);
	return true;
}

void follow_add(struct follow *follow, const struct follow_directory *directory,
		const char *name)
{
	struct followed *segment;
	struct tws_header header;
	struct stat st;
	int fd = -1;

	if (reader_open_file(&follow->reader, directory->fd, name, &header, &fd)) {
		follow->unread++;
		return;
	}
	if (fstat(fd, &st) != 0 || is_known(follow, &st, directory->watch, name) ||
	    !(segment = new_segment(follow))) {
		close(fd);
		return;
	}
	segment->header = header;
	segment->watch = directory->watch;
	segment->device = st.st_dev;
	segment->inode = st.st_ino;
	snprintf(segment->name, sizeof(segment->name), "%s", name);
	begin(follow, segment, fd);
	if (is_over(follow, segment)) {
		close(fd);
		segment->fd = -1;
	}
}

void follow_forget(struct follow *follow, int watch, const char *name)
{
	for (size_t i = 0; i < follow->segment_count; i++)
		if (follow->segments[i]->watch == watch &&
		    (!name || strcmp(follow->segments[i]->name, name) == 0))
			follow->segments[i]->name[0] = '\0';
}

/* ------------------------------------------------------------------- the whole */

static void drop_finished(struct follow *follow)
{
	size_t kept = 0;

	for (size_t i = 0; i < follow->segment_count; i++) {
		if (follow->segments[i]->fd < 0 && !*follow->segments[i]->name)
			free(follow->segments[i]);
		else
			follow->segments[kept++] = follow->segments[i];
	}
	follow->segment_count = kept;
}

static int compare(const void *a, const void *b)
{
	const struct follow_event *x = a, *y = b;

	return x->ended.ended_ns < y->ended.ended_ns
		   ? -1
		   : x->ended.ended_ns > y->ended.ended_ns;
}

/* A process view remembers those of other namespaces: of one reading. */
static void renew_view(struct follow *follow)
{
	process_view_free(&follow->reader.processes);
	process_view_init(&follow->reader.processes);
}

int follow_read(struct follow *follow, const struct follow_event **ret_events,
		size_t *ret_count)
{
	uint64_t now = tws_now();

	follow->event_count = 0;
	drop_finished(follow);
	renew_view(follow);
	follow_take_news(follow);
	if (now >= follow->scan_ns) {
		follow_scan(follow);
		follow->scan_ns = now + SECOND_NS;
	}
	for (size_t i = 0; i < follow->segment_count && !follow->failed; i++)
		if (follow->segments[i]->fd >= 0)
			read_segment(follow, follow->segments[i], now);
	follow_hear(follow);
	if (follow->event_count)
		qsort(follow->events, follow->event_count, sizeof(*follow->events),
		      compare);
	*ret_events = follow->events;
	*ret_count = follow->event_count;
	return follow->failed ? -ENOMEM : 0;
}

/* A descriptor a process: as many as we may have. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int follow_open(struct follow **ret_follow, const char *dir, char *ret_error, size_t size)
{
	struct follow *follow = calloc(1, sizeof(*follow));
	int result = follow ? reader_init(&follow->reader) : -ENOMEM;

	if (result == 0) {
		follow->dir = dir;
		follow->net_namespace = kernel_namespace("net");
		follow->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		result = follow->inotify < 0 ? -errno : 0;
	}
	if (result != 0) {
		snprintf(ret_error, size, "inotify: %s", strerror(-result));
		if (follow)
			reader_free(&follow->reader);
		free(follow);
		return result;
	}
	raise_limit();
	if (kernel_listener_open(&follow->listener, ret_error, size) != 0)
		follow->listener = NULL;
	follow_scan(follow);
	follow->begun = true;
	follow->unread = 0;
	*ret_follow = follow;
	return 0;
}

int follow_fd(const struct follow *follow)
{
	return follow->inotify;
}

uint64_t follow_unread(const struct follow *follow)
{
	return follow->unread;
}

void follow_close(struct follow *follow)
{
	for (size_t i = 0; i < follow->segment_count; i++) {
		if (follow->segments[i]->fd >= 0)
			close(follow->segments[i]->fd);
		free(follow->segments[i]);
	}
	for (size_t i = 0; i < follow->directory_count; i++)
		close(follow->directories[i].fd);
	close(follow->inotify);
	kernel_listener_close(follow->listener);
	free(follow->segments);
	free(follow->directories);
	free(follow->events);
	reader_free(&follow->reader);
	free(follow);
}
