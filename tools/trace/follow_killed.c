/* SPDX-License-Identifier: MIT
 *
 * What the kernel knows about ended connections. Connections that were open when their
 * process was killed are in no ring. The kernel's table and its destroy messages show how
 * they ended, by the verdicts of tools/model/join.h.
 */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/trace/follow_parts.h"
#include "tools/model/join.h"
#include "tools/kernel/kernel.h"
#include "tools/model/model.h"

#define PATIENCE_NS 1000000000ull /* then a message that is missing will not come */

struct dead {
	struct follow *follow;
	const struct followed *segment;
	struct kernel_table table;
	bool has_table;
	uint64_t table_ns;
};

/* The kernel sends destroy messages from a work queue, a little late. */
static void pause_for_words(void)
{
	const struct timespec pause = {0, 3000000};

	nanosleep(&pause, NULL);
}

/* Returns the segment's connection slots in new memory; NULL: there are none. */
static struct tws_connection *read_slots(const struct followed *segment,
					 uint32_t *ret_count)
{
	const struct tws_section *section =
	    &segment->header.section[TWS_SECTION_CONNECTIONS];
	struct tws_connection *slots = NULL;
	struct tws_header now;
	size_t size;

	if (pread(segment->fd, &now, sizeof(now), 0) != sizeof(now))
		return NULL;
	*ret_count = now.section[TWS_SECTION_CONNECTIONS].used;
	if (*ret_count > section->count)
		*ret_count = section->count;
	size = (size_t)*ret_count * sizeof(*slots);
	slots = size ? malloc(size) : NULL;
	if (!slots ||
	    pread(segment->fd, slots, size, (off_t)section->offset) == (ssize_t)size)
		return slots;
	free(slots);
	return NULL;
}

static void read_killed_table(struct dead *dead)
{
	char error[160];

	if (dead->has_table ||
	    dead->segment->header.net_namespace != dead->follow->net_namespace)
		return;
	if (dead->follow->listener) {
		pause_for_words();
		kernel_listener_drain(dead->follow->listener);
	}
	dead->table_ns = tws_now();
	dead->has_table =
	    kernel_table_read(&dead->table, KERNEL_STATES_ALL & ~KERNEL_STATE(TCP_LISTEN),
			      error, sizeof(error)) == 0;
}

/* A TIME_WAIT socket shows when it began; anything else ended, as far as we know, now. */
static uint64_t killed_at_ns(const struct dead *dead, const struct kernel_socket *socket)
{
	uint64_t gone = MODEL_TIME_WAIT_NS;

	if (socket && socket->state == TCP_TIME_WAIT &&
	    socket->expires_ms * 1000000ull <= gone)
		return dead->table_ns - (gone - socket->expires_ms * 1000000ull);
	return tws_now();
}

static void note_killed(struct dead *dead, const struct tws_connection *slot,
			const struct join_verdict *verdict,
			const struct kernel_socket *socket)
{
	struct follow_event *event = follow_event_new(dead->follow, dead->segment);

	if (!event)
		return;
	event->ended = (struct tws_ended){
	    .cookie = slot->cookie,
	    .began_ns = slot->began_ns,
	    .established_ns = slot->established_ns,
	    .ended_ns = killed_at_ns(dead, socket),
	    .remote = slot->remote,
	    .local = socket ? socket->local : slot->local,
	    .flags = slot->flags,
	    .rule = slot->rule,
	    .arm = slot->arm,
	    .ending = (uint8_t)verdict->ending,
	    .via = (uint8_t)verdict->via,
	    .failure = (uint8_t)verdict->failure,
	};
	follow_name_event(dead->segment, event);
}

static const struct kernel_destroyed *last_words(const struct follow *follow,
						 uint64_t cookie)
{
	return follow->listener ? kernel_listener_find(follow->listener, cookie) : NULL;
}

static bool was_open(const struct tws_connection *slot)
{
	return slot->state >= TWS_CONN_CONNECTING && slot->state <= TWS_CONN_ENDING &&
	       !(slot->flags & TWS_CONN_ADOPTED);
}

/* Returns the slot's socket, or NULL. */
static const struct kernel_socket *learn(struct dead *dead, struct tws_connection *slot,
					 struct join_facts *ret_facts)
{
	const struct kernel_socket *socket;

	*ret_facts = (struct join_facts){.slot = slot, .owner_gone = true};
	read_killed_table(dead);
	/* A kill struck while it was ending: treat the slot as open. */
	if (slot->state == TWS_CONN_ENDING)
		slot->state = slot->established_ns ? TWS_CONN_OPEN : TWS_CONN_CONNECTING;
	if (!dead->has_table)
		return NULL;
	socket = kernel_table_find_key(&dead->table, tws_socket_key(slot));
	join_learn(ret_facts, socket, last_words(dead->follow, slot->cookie),
		   dead->table_ns);
	return socket;
}

/* Whether the kernel's message about a socket that has gone may still come. */
static bool is_message_late(struct dead *dead, struct tws_connection *slot)
{
	struct join_facts facts;

	learn(dead, slot, &facts);
	return facts.where == JOIN_GONE && !facts.last_words && !slot->via;
}

static void end_killed(struct dead *dead, struct tws_connection *slot)
{
	struct join_facts facts;
	const struct kernel_socket *socket = learn(dead, slot, &facts);
	struct join_verdict verdict = join_decide(&facts);

	if (verdict.ended)
		note_killed(dead, slot, &verdict, socket);
}

bool follow_read_open(struct follow *follow, struct followed *segment)
{
	struct dead dead = {.follow = follow, .segment = segment};
	struct tws_connection *slots;
	uint32_t count = 0;
	bool late = false;

	if (!segment->died_ns)
		segment->died_ns = tws_now();
	slots = read_slots(segment, &count);
	if (follow->listener && tws_now() - segment->died_ns < PATIENCE_NS)
		for (uint32_t i = 0; slots && i < count && !late; i++)
			late = was_open(&slots[i]) && is_message_late(&dead, &slots[i]);
	for (uint32_t i = 0; slots && i < count && !late; i++)
		if (was_open(&slots[i]))
			end_killed(&dead, &slots[i]);
	free(slots);
	kernel_table_free(&dead.table);
	return !late;
}

/* Returns how many could not be filled in yet. */
static size_t fill_in(struct follow *follow)
{
	const struct kernel_destroyed *words;
	struct tws_ended *ended;
	size_t left = 0;

	for (size_t i = 0; i < follow->event_count; i++) {
		ended = &follow->events[i].ended;
		if (ended->local.family || !ended->cookie)
			continue;
		words = last_words(follow, ended->cookie);
		if (words)
			ended->local = words->local;
		else
			left++;
	}
	return left;
}

/* If there is no destroy message (it is late, or we may not listen), the socket may still
 * be in the table, for a minute as TIME_WAIT. */
static void look_up_table(struct follow *follow)
{
	const struct kernel_socket *socket;
	struct kernel_table table = {0};
	struct tws_ended *ended;
	char error[160];

	if (kernel_table_read(&table, KERNEL_STATES_ALL & ~KERNEL_STATE(TCP_LISTEN),
			      error, sizeof(error)) != 0)
		return;
	for (size_t i = 0; i < follow->event_count; i++) {
		ended = &follow->events[i].ended;
		if (ended->local.family || !ended->cookie)
			continue;
		socket = kernel_table_find(&table, ended->cookie);
		if (socket)
			ended->local = socket->local;
	}
	kernel_table_free(&table);
}

static void listen_again(struct follow *follow)
{
	if (follow->listener)
		kernel_listener_drain(follow->listener);
}

void follow_hear(struct follow *follow)
{
	listen_again(follow);
	if (fill_in(follow) == 0)
		return;
	if (follow->listener)
		pause_for_words();
	listen_again(follow);
	if (fill_in(follow) > 0)
		look_up_table(follow);
}
