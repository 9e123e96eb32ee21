/* SPDX-License-Identifier: MIT
 *
 * The segments that are followed, and their rings of ended connections. A record is taken
 * if its sequence is right and its place was not given to a later ticket while we read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "shim/shared/names.h"
#include "tools/base/array.h"
#include "tools/trace/follow_parts.h"

#define SECOND_NS 1000000000ull
#define BATCH	  256 /* records read at once */
#define ROUNDS	  4   /* over a ring in one look: a busy writer could keep us for ever */
/* A record that is incomplete for this long: its writer is dead, or had no memory. */
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

static void read_table_name(const struct followed *segment, enum tws_section_id id,
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
		read_table_name(segment, TWS_SECTION_RULES, event->ended.rule - 1u,
				offsetof(struct tws_rule_status, name), event->rule);
	if (event->ended.arm)
		read_table_name(segment, TWS_SECTION_ARMS, event->ended.arm - 1u,
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

static bool load_tickets(const struct followed *segment, uint64_t *ret_tickets)
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

/* Returns whether to wait for a record that is incomplete. */
static bool is_pending(struct followed *segment, uint64_t now)
{
	if (!segment->stuck_ns)
		segment->stuck_ns = now;
	return now - segment->stuck_ns < STUCK_NS;
}

/* Takes the complete ones of `count` records, beginning with ticket `next`. Returns how
 * many were dealt with; fewer than `count` if one is still being written. */
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

/* Reads one stretch that does not wrap. Returns false if nothing more can be read now. */
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
	    !load_tickets(segment, tickets))
		return false;
	done = take_records(follow, segment, records, (uint32_t)count, *tickets, now);
	segment->next += done;
	return done == count && segment->next < *tickets && !follow->failed;
}

void follow_read_ring(struct follow *follow, struct followed *segment, uint64_t now)
{
	const uint32_t size = segment->header.section[TWS_SECTION_ENDED].count;
	uint64_t tickets;

	if (!size || !load_tickets(segment, &tickets) || tickets <= segment->next)
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

/* ------------------------------------------------------------------ segments */

bool follow_is_dead(struct follow *follow, const struct followed *segment)
{
	const struct tws_header *header = &segment->header;
	uint32_t state = TWS_SEGMENT_EXITED;

	if (header->observer != TWS_OBSERVER_SHIM)
		return !reader_observer_lives(&follow->reader, header) ||
		       pread(segment->fd, &state, sizeof(state),
			     offsetof(struct tws_header, state)) < 0 ||
		       state == TWS_SEGMENT_EXITED;
	return process_life(&follow->reader.processes, header->pid_namespace,
			    (pid_t)header->pid, header->start_time) == PROCESS_DEAD;
}

static struct followed *find_segment(const struct follow *follow, const struct stat *st)
{
	for (size_t i = 0; i < follow->segment_count; i++)
		if (follow->segments[i]->inode == st->st_ino &&
		    follow->segments[i]->device == st->st_dev)
			return follow->segments[i];
	return NULL;
}

static struct followed *new_segment(struct follow *follow)
{
	struct followed **grown =
	    array_grow(follow->segments, follow->segment_count, sizeof(*grown));
	struct followed *segment;

	if (!grown)
		return NULL;
	follow->segments = grown;
	segment = calloc(1, sizeof(*segment));
	if (segment)
		follow->segments[follow->segment_count++] = segment;
	return segment;
}

static void describe_process(struct followed *segment)
{
	const struct tws_header *header = &segment->header;

	segment->process = (struct follow_process){
	    .pid = header->pid,
	    .uid = header->uid,
	    .detail = header->detail,
	    .exe = header->exe,
	    .name = tws_names_app(&header->names, header->exe),
	};
}

/* Whether nothing more will come from this file: totals, or the process died before we
 * began. */
static bool has_nothing_to_come(struct follow *follow, struct followed *segment)
{
	return segment->header.state == TWS_SEGMENT_TOTALS ||
	       (!follow->begun && follow_is_dead(follow, segment));
}

static void begin_segment(struct follow *follow, struct followed *segment, int fd)
{
	segment->fd = fd;
	describe_process(segment);
	if (!follow->begun && load_tickets(segment, &segment->next))
		return;
	segment->next = 0;
}

/* Whether the file is known under another name: a run's segments are moved up into the
 * main directory. */
static bool is_known(struct follow *follow, const struct stat *st, int watch,
		     const char *name)
{
	struct followed *segment = find_segment(follow, st);

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
	begin_segment(follow, segment, fd);
	if (has_nothing_to_come(follow, segment)) {
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
