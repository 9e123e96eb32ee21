/* SPDX-License-Identifier: MIT
 *
 * The published processes. A segment begins with the first connection of its process,
 * and is released when the process is dead and none of its connections is open.
 */
#include "tools/observe/publish.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "shim/shared/fold.h"
#include "tools/kernel/process.h"
#include "tools/observe/publish_parts.h"

#define FOLD_EVERY 10 /* ticks */
#define LONG_NS	   30000000000u

int publisher_open(struct publisher **ret_publisher, enum tws_observer source,
		   const struct publish_place *place)
{
	struct publisher *publisher = calloc(1, sizeof(*publisher));

	if (!publisher)
		return -ENOMEM;
	publish_writer_init(&publisher->writer, source);
	if (place->run)
		memcpy(publisher->writer.run, place->run, TWS_RUN_SIZE);
	publisher->place = *place;
	*ret_publisher = publisher;
	return 0;
}

static void release(struct published *published)
{
	publish_file_close(&published->file);
	free(published->free_slots);
	free(published->held);
	free(published->live_there);
	free(published);
}

void publisher_close(struct publisher *publisher)
{
	struct published *next;

	if (!publisher)
		return;
	for (struct published *at = publisher->first; at; at = next) {
		next = at->next;
		release(at);
	}
	open_table_free(&publisher->table);
	free(publisher);
}

const struct publish_counts *publish_counts(const struct publisher *publisher)
{
	return &publisher->counts;
}

static void note_user(struct publisher *publisher, uint32_t uid)
{
	for (uint32_t i = 0; i < publisher->user_count; i++)
		if (publisher->users[i] == uid)
			return;
	if (publisher->user_count < PUBLISH_USERS)
		publisher->users[publisher->user_count++] = uid;
}

int publish_in_one(void *data, uint32_t uid)
{
	(void)uid;
	return *(const int *)data;
}

const uint8_t *publish_run(const struct publisher *publisher)
{
	return publisher->writer.run;
}

int publish_directory(struct publisher *publisher, uint32_t uid)
{
	return publisher->place.directory(publisher->place.data, uid);
}

struct published *publish_process(struct publisher *publisher,
				  const struct publish_subject *subject)
{
	struct published *published = calloc(1, sizeof(*published));
	int directory = published ? publish_directory(publisher, subject->uid) : -ENOMEM;

	if (directory < 0 || publish_file_make(&published->file, &publisher->writer,
					       subject, directory) != 0) {
		free(published);
		publisher->counts.refused++;
		return NULL;
	}
	publish_file_reach(&published->file, TWS_SECTION_DESTINATIONS, 0);
	note_user(publisher, subject->uid);
	published->file.header->policy_layers = publisher->policy_layers;
	published->publisher = publisher;
	published->subject = *subject;
	published->next = publisher->first;
	publisher->first = published;
	publisher->counts.processes++;
	return published;
}

const struct publish_subject *publish_subject_of(const struct published *published)
{
	return &published->subject;
}

void publish_each_destination(const struct published *published,
			      void (*take)(const struct tws_address *to,
					   uint64_t attempts, void *data),
			      void *data)
{
	const enum tws_section_id id = TWS_SECTION_DESTINATIONS;
	uint32_t used = published->file.header->section[id].used;
	const struct tws_destination *entry;

	for (uint32_t i = 1; i < used; i++) {
		entry = publish_file_at(&published->file, id, i);
		take(&entry->address, entry->counters.value[TWS_attempts], data);
	}
}

void publish_replaced(struct published *published)
{
	published->replaced = true;
}

struct published *publish_find(const struct publisher *publisher, uint64_t cookie)
{
	const struct open_connection *found = open_table_find(&publisher->table, cookie);

	return found ? found->published : NULL;
}

struct open_connection *publish_open_of(const struct publisher *publisher,
					uint64_t cookie)
{
	return open_table_find(&publisher->table, cookie);
}

static bool is_over(const struct open_connection *open, uint64_t before_ns)
{
	if (open->closed_ns)
		return open->closed_ns < before_ns;
	return open->began_ns + (open->published->dead ? 0 : LONG_NS) < before_ns;
}

bool publish_is_over(const struct publisher *publisher, uint64_t cookie,
		     uint64_t before_ns)
{
	const struct open_table *table = &publisher->table;
	const struct open_connection *open;

	if (cookie) {
		open = open_table_find(table, cookie);
		return open && is_over(open, before_ns);
	}
	for (uint32_t i = 0; i < table->count; i++)
		if (is_over(&table->all[i], before_ns))
			return true;
	return false;
}

void publish_on_forgotten(struct publisher *publisher,
			  void (*forgotten)(void *data, struct published *published),
			  void *data)
{
	publisher->forgotten = forgotten;
	publisher->forgotten_data = data;
}

void publish_unseen(struct publisher *publisher,
		    bool (*gone)(void *data, uint64_t cookie), void *data)
{
	struct publish_connection unseen = {.ending = TWS_END_UNSEEN};
	struct open_table *table = &publisher->table;
	struct open_connection *open;

	unseen.ended_ns = tws_now();
	for (uint32_t i = 0; i < table->count;) {
		open = &table->all[i];
		if (!gone(data, open->cookie)) {
			i++;
			continue;
		}
		unseen.cookie = open->cookie;
		unseen.ending = open->established_ns ? TWS_END_UNSEEN : TWS_END_ABANDONED;
		publish_end(open, &unseen); /* another process may be here now */
	}
}

/* ----------------------------------------------------------------------- each second */

static bool is_dead(const struct published *published)
{
	const struct publish_subject *subject = &published->subject;

	if (published->replaced)
		return true;
	return subject->host_pid &&
	       ((kill(subject->host_pid, 0) != 0 && errno == ESRCH) ||
		process_start_time(subject->host_pid) != subject->start_time);
}

void publish_note_dead(struct publisher *publisher)
{
	for (struct published *at = publisher->first; at; at = at->next)
		at->dead = is_dead(at);
}

/* The process is dead or replaced, all that it did was reported since, and none of its
 * connections is open: nothing more will be written. */
static void let_go(struct publisher *publisher)
{
	struct published **at = &publisher->first, *published;

	while (*at) {
		published = *at;
		if (published->open || !published->dead) {
			at = &published->next;
			continue;
		}
		__atomic_store_n(&published->file.header->state, TWS_SEGMENT_EXITED,
				 __ATOMIC_RELEASE);
		*at = published->next;
		if (publisher->forgotten)
			publisher->forgotten(publisher->forgotten_data, published);
		release(published);
	}
}

static void fold_all(struct publisher *publisher)
{
	static const struct tws_fold_limits usual;
	int directory;

	for (uint32_t i = 0; i < publisher->user_count; i++) {
		directory = publish_directory(publisher, publisher->users[i]);
		if (directory >= 0)
			tws_fold(directory, &usual);
	}
}

void publish_fold_beside(struct publisher *publisher, void (*prepare_child)(void *data),
			 void *data)
{
	publisher->fold_child = prepare_child;
	publisher->fold_data = data;
}

static void fold(struct publisher *publisher)
{
	if (!publisher->fold_child) {
		fold_all(publisher);
	} else if (fork() == 0) {
		publisher->fold_child(publisher->fold_data);
		fold_all(publisher);
		_exit(0);
	}
}

void publish_tick(struct publisher *publisher)
{
	let_go(publisher);
	if (++publisher->ticks % FOLD_EVERY == 0)
		fold(publisher);
}
