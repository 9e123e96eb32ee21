/* SPDX-License-Identifier: MIT
 *
 * What a supervisor learns from the kernel about the connections that it knows: how they
 * ended, and, from the kernel's table, which live.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "shim/shared/ending.h"
#include "shim/shared/newer.h"
#include "tools/kernel/kernel.h"
#include "tools/kernel/proc_file.h"
#include "tools/observe/bpf.h"
#include "tools/observe/call.h"
#include "tools/observe/keeper.h"
#include "tools/observe/notify_filter.h"
#include "tools/observe/publish_parts.h"
#include "shim/shared/tcp_state.h"

#define MS	    1000000ull
#define LOOK_MS	    300	 /* a connection that is older is looked for in the table */
#define REPAIR_MS   200	 /* after messages were lost */
#define ANSWER_MS   2000 /* that a peer may take to acknowledge our FIN */
#define MISSING_MAX 2

/* ---------------------------------------------------------------------- endings */

static bool knows(void *data, uint64_t cookie)
{
	const struct supervision *supervision = data;

	return publish_open_of(supervision->publisher, cookie) != NULL;
}

static struct publish_connection describe_open(const struct open_connection *open,
					       const struct tws_address *remote)
{
	return (struct publish_connection){
	    .cookie = open->cookie,
	    .began_ns = open->began_ns,
	    .established_ns = open->established_ns,
	    .remote = *remote,
	    .flags = open->flags,
	    .rough = true,
	    .state_at_close = open->state_at_close,
	    .bytes_sent = open->bytes_sent,
	    .bytes_received = open->bytes_received,
	};
}

/* Where it goes, as its segment says. */
static struct tws_address remote_of(const struct open_connection *open)
{
	const struct tws_destination *entry = publish_file_at(
	    &open->published->file, TWS_SECTION_DESTINATIONS, open->destination);

	return entry->address;
}

enum tws_counter supervision_unsent_failure(const struct tws_address *to)
{
	int error = bpf_map_route_error(to);

	return tws_failure_counter(error ? error : EADDRNOTAVAIL);
}

static void find_failure(struct publish_connection *ended, const struct last_words *words)
{
	if (ended->ending != TWS_END_FAILED || ended->failure != TWS_failed_other ||
	    words->info.tcpi_segs_out || words->unsent)
		return;
	ended->failure = supervision_unsent_failure(&ended->remote);
}

static void take_words(void *data, const struct last_words *words)
{
	struct supervision *supervision = data;
	struct open_connection *open =
	    publish_open_of(supervision->publisher, words->cookie);
	struct last_words told = *words;
	struct publish_connection begun, ended;
	struct tws_address remote;

	if (!open)
		return;
	told.time_wait |= open->left_time_wait;
	if (words->remote.port)
		publish_moved(open, &words->remote);
	remote = remote_of(open);
	begun = describe_open(open, &remote);
	last_words_decide(&told, &begun, &open->limits, (enum tws_ending)open->decided,
			  &ended);
	find_failure(&ended, words);
	publish_ended(open->published, &ended);
}

/* ------------------------------------------------------------- the kernel's table */

static void note_established(struct open_connection *open,
			     const struct kernel_socket *socket)
{
	struct publish_connection connection = describe_open(open, &socket->remote);

	publish_moved(open, &socket->remote);
	connection.local = socket->local;
	connection.established_ns = open->began_ns;
	if (!open->established_ns)
		publish_established(open->published, &connection);
}

static void end_by_table(struct open_connection *open, enum tws_ending ending)
{
	struct tws_address remote = remote_of(open);
	struct publish_connection ended = describe_open(open, &remote);

	ended.ended_ns = tws_now();
	ended.ending =
	    ending == TWS_END_UNSEEN && !open->established_ns && !open->unfollowed
		? TWS_END_ABANDONED
		: ending;
	ended.time_wait = ending == TWS_END_LOCAL_FIN;
	if (ended.ending != TWS_END_ABANDONED && !ended.established_ns)
		ended.established_ns = open->began_ns;
	publish_ended(open->published, &ended);
}

static bool closed_here(const struct kernel_socket *socket)
{
	return socket->inode == 0 &&
	       (socket->state == STATE_FIN_WAIT1 || socket->state == STATE_FIN_WAIT2 ||
		socket->state == STATE_CLOSING);
}

/* Whether the kernel is about to say how it ended, and how many bytes it carried: in
 * TIME_WAIT and FIN_WAIT2 it has given up the socket itself, unless that waits longer in
 * FIN_WAIT2 than in TIME_WAIT. In the other states the peer may never answer. */
static bool has_last_words(const struct supervision *supervision,
			   const struct open_connection *open,
			   const struct kernel_socket *socket)
{
	if (supervision->lost_ns)
		return false;
	if (socket->state == STATE_TIME_WAIT || socket->state == STATE_FIN_WAIT2)
		return true;
	return !supervision->finishing && tws_now() - open->closed_ns < ANSWER_MS * MS;
}

/* Whether its end was missed: its message was lost, or its process is dead. */
static bool is_missed(const struct supervision *supervision, struct open_connection *open)
{
	if (open->unfollowed)
		return false;
	if (open->began_ns < supervision->lost_ns)
		return true;
	if (!open->published->dead)
		return false;
	return ++open->missing > MISSING_MAX;
}

/* True: it was ended, and another one may be in its place. */
static bool look_at_open(struct supervision *supervision, struct open_connection *open,
			 const struct kernel_table *table)
{
	const struct kernel_socket *socket = kernel_table_find(table, open->cookie);

	if (socket && (socket->state == STATE_TIME_WAIT || closed_here(socket))) {
		note_established(open, socket);
		publish_closed(supervision->publisher, open->cookie, tws_now());
		if (has_last_words(supervision, open, socket))
			return false;
		end_by_table(open, open->flags & TWS_CONN_POLICY_LINGER2
				       ? TWS_END_FIN_RESET
				       : TWS_END_LOCAL_FIN);
		return true;
	}
	if (socket && socket->state != STATE_SYN_SENT)
		note_established(open, socket);
	if (socket || !is_missed(supervision, open))
		return false;
	supervision->counts->unseen++;
	end_by_table(open, open->flags & TWS_CONN_POLICY_RESET ? TWS_END_RESET_POLICY
							       : TWS_END_UNSEEN);
	return true;
}

static void look_at_all(struct supervision *supervision, const struct kernel_table *table,
			uint64_t before_ns)
{
	struct open_table *open = &supervision->publisher->table;

	for (uint32_t i = 0; i < open->count;)
		if (open->all[i].began_ns > before_ns ||
		    !look_at_open(supervision, &open->all[i], table))
			i++;
}

/* Which states to look for; 0: none. Most sockets of a storm are in TIME_WAIT, and only
 * the end of a connection that may have been missed is looked for there. */
static uint32_t states_to_look_for(const struct supervision *supervision, uint64_t now)
{
	const uint32_t all = KERNEL_STATES_ALL & ~KERNEL_STATE(STATE_LISTEN);
	const struct open_table *table = &supervision->publisher->table;
	uint32_t states = 0;

	for (uint32_t i = 0; i < table->count; i++) {
		const struct open_connection *open = &table->all[i];

		if (open->began_ns + LOOK_MS * MS >= now)
			continue;
		if (supervision->lost_ns || open->missing)
			return all;
		states = all & ~KERNEL_STATE(STATE_TIME_WAIT);
	}
	return states;
}

void supervision_note_passed(struct supervision *supervision,
			     const struct keeper_page *page)
{
	struct supervisor_counts *counts = supervision->counts;

	counts->passed = __atomic_load_n(&page->passed, __ATOMIC_RELAXED);
	counts->passed_closes = __atomic_load_n(&page->passed_closes, __ATOMIC_RELAXED);
}

void supervision_note_unreached(struct supervision *supervision, const char *text)
{
	struct supervisor_counts *counts = supervision->counts;

	for (uint64_t i = 0; i < counts->unreached && i < SUPERVISOR_TEXTS; i++)
		if (strcmp(counts->unreached_text[i], text) == 0)
			return;
	if (counts->unreached < SUPERVISOR_TEXTS)
		snprintf(counts->unreached_text[counts->unreached], DOOR_TEXT_SIZE, "%s",
			 text);
	counts->unreached++;
}

/* A program that was turned away counts one: what it connects is not known. */
static uint64_t count_missed(const struct supervisor_counts *counts)
{
	return counts->passed +
	       (counts->kernel_too ? 0 : counts->hidden + counts->turned_away);
}

/* Whose they are is not known, if there are several programs. */
static void note_missed(struct supervision *supervision)
{
	struct published *any = supervision->publisher->first;
	const uint64_t missed = count_missed(supervision->counts);

	if (!any || missed <= supervision->missed)
		return;
	publish_unobserved(any, missed - supervision->missed);
	supervision->missed = missed;
}

/* The kernel neither lists them by their cookies nor says how they end. Most connects
 * succeed. */
static void end_unfollowed(struct supervision *supervision)
{
	struct open_table *table = &supervision->publisher->table;

	for (uint32_t i = 0; i < table->count;) {
		struct open_connection *open = &table->all[i];

		if (!open->unfollowed || !open->published->dead) {
			i++;
			continue;
		}
		supervision->counts->unseen++;
		end_by_table(open, TWS_END_UNSEEN); /* another may be in its place */
	}
}

void supervision_tick(struct supervision *supervision)
{
	uint64_t now = tws_now(), lost = last_words_lost(supervision->words);
	struct kernel_table table = {0};
	uint32_t states;
	char error[160];

	publish_note_dead(supervision->publisher);
	note_missed(supervision);
	if (lost)
		supervision->lost_ns = lost;
	states = states_to_look_for(supervision, now);
	if (states && now - supervision->lost_ns > REPAIR_MS * MS &&
	    kernel_table_read(&table, states, error, sizeof(error)) == 0) {
		look_at_all(supervision, &table, now - REPAIR_MS * MS);
		supervision->lost_ns = 0;
	}
	kernel_table_free(&table);
	end_unfollowed(supervision);
	publish_tick(supervision->publisher);
	observed_sweep(&supervision->callers.observed);
}

/* ------------------------------------------------------------------- the policy */

static void use_policy(struct supervision *supervision)
{
	const struct policy_layers *layers = &supervision->layers;

	supervision->policy.image = layers->image;
	publish_set_policy(supervision->publisher, layers->image, layers->key,
			   layers->followed);
}

void supervision_set_policy(struct supervision *supervision,
			    const struct tws_policy_image *given, uint64_t key, int place,
			    const uint8_t *run)
{
	policy_layers_open(&supervision->layers, given, key, place, run);
	policy_at_call_init(&supervision->policy, supervision->layers.image);
	use_policy(supervision);
}

uint32_t supervision_wants(const struct supervision *supervision)
{
	const struct tws_policy_image *policy = supervision->layers.image;

	return (policy_wants_closes(policy) ? NOTIFY_CLOSE : 0) |
	       (policy_wants_binds(policy) ? NOTIFY_BIND : 0);
}

void supervision_follow_policy(struct supervision *supervision)
{
	if (policy_layers_look(&supervision->layers))
		use_policy(supervision);
}

/* ---------------------------------------------------------------------- opening */

static void forget(void *data, struct published *published)
{
	struct supervision *supervision = data;
	struct observed_table *table = &supervision->callers.observed;

	for (size_t i = 0; i < OBSERVED_BUCKETS; i++)
		for (struct observed *at = table->buckets[i]; at; at = at->next)
			if (at->published == published) {
				callers_forget(&supervision->callers, at);
				observed_forget(table, published,
						publish_subject_of(published)->host_pid);
				return;
			}
}

static uint64_t own_net_cookie(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);

	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0)
		cookie = 0;
	close(fd);
	return cookie;
}

/* Kernels before 6.5 have none. */
static uint32_t read_linear_syns(void)
{
	char text[32];

	if (proc_read("/proc/sys/net/ipv4/tcp_syn_linear_timeouts", text, sizeof(text)) !=
	    0)
		return 0;
	return (uint32_t)strtoul(text, NULL, 10);
}

int supervision_open(struct supervision *supervision, const struct publish_place *place,
		     struct supervisor_counts *counts, char *ret_error, size_t size)
{
	const struct last_words_user user = {knows, take_words, supervision};
	int result;

	*supervision = (struct supervision){.counts = counts};
	policy_layers_init(&supervision->layers);
	callers_init(&supervision->callers);
	supervision->net_cookie = own_net_cookie();
	supervision->linear_syns = read_linear_syns();
	snprintf(ret_error, size, "%s", strerror(ENOMEM));
	result = publisher_open(&supervision->publisher, TWS_OBSERVER_SUPERVISOR, place);
	if (result == 0) {
		publish_on_forgotten(supervision->publisher, forget, supervision);
		result = last_words_open(&supervision->words, &user, ret_error, size);
	}
	if (result != 0)
		supervision_close(supervision);
	return result;
}

void supervision_close(struct supervision *supervision)
{
	last_words_close(supervision->words);
	if (supervision->publisher)
		publish_on_forgotten(supervision->publisher, NULL, NULL);
	publisher_close(supervision->publisher);
	callers_free(&supervision->callers);
	policy_layers_close(&supervision->layers);
}
