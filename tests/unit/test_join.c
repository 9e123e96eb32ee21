/* SPDX-License-Identifier: MIT
 *
 * What became of a connection whose process could not record it: the whole table, and
 * that the identities of the counters hold wherever a process was killed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/saved_segment.h"
#include "tools/model/join.h"
#include "tools/model/model.h"

/* Messages of the kernel about destroyed sockets, as measured on Linux 6.18. */
static const struct kernel_destroyed peer_first = {.has_info = true,
						   .bytes_acked = 7,
						   .bytes_received = 1,
						   .fin_acked = true,
						   .unread = 1};
static const struct kernel_destroyed dropped = {
    .has_info = true, .bytes_acked = 7, .fin_acked = true};
static const struct kernel_destroyed unread = {
    .has_info = true, .bytes_acked = 6, .bytes_received = 7, .unread = 7};
static const struct kernel_destroyed peer_reset = {
    .has_info = true, .bytes_acked = 6, .bytes_received = 7};
static const struct kernel_destroyed our_reset = {.has_info = true, .unacked = 65538};
static const struct kernel_destroyed never_answered = {.has_info = true, .unacked = 1};
static const struct kernel_destroyed old_kernel_unread = {.unread = 7};
static const struct kernel_destroyed old_kernel = {.unread = 1};

/* The verdict "stays as it is" (NOT_ENDED), whether or not it was established. */
#define NOT_ENDED TWS_END_NONE

static const struct row {
	const char *what;
	uint32_t state;
	uint32_t flags;
	uint8_t ending;
	uint8_t via;
	bool owner_gone;
	enum join_where where;
	const struct kernel_destroyed *words;
	bool stale;
	enum tws_ending wanted;
	enum tws_via wanted_via;
	bool wanted_established;
} rows[] = {
    {.what = "open, process lives", .state = TWS_CONN_OPEN, .where = JOIN_GONE},
    {.what = "killed, TIME_WAIT stands",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_TIME_WAIT,
     .wanted = TWS_END_LOCAL_FIN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed, FIN_WAIT",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_CLOSED_HERE,
     .wanted = TWS_END_LOCAL_FIN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed, FIN_WAIT under TCP_LINGER2 = -1",
     .state = TWS_CONN_OPEN,
     .flags = TWS_CONN_POLICY_LINGER2,
     .owner_gone = true,
     .where = JOIN_CLOSED_HERE,
     .wanted = TWS_END_FIN_RESET,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed, LAST_ACK",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_CLOSED_THERE,
     .wanted = TWS_END_REMOTE_FIN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed, another holds it",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_HELD},
    {.what = "killed and gone, nobody listened",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_GONE,
     .wanted = TWS_END_UNSEEN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed and gone, our FIN was acknowledged",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &peer_first,
     .wanted = TWS_END_REMOTE_FIN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "the same a minute ago: there may have been a TIME_WAIT",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &peer_first,
     .stale = true,
     .wanted = TWS_END_UNSEEN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed and gone, and no FIN came: the peer answered our close with a reset",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &dropped,
     .stale = true,
     .wanted = TWS_END_LOCAL_FIN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed and gone, data unread",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &unread,
     .wanted = TWS_END_RESET_UNREAD,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed and gone, no FIN acknowledged, nothing unread",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &peer_reset,
     .wanted = TWS_END_RESET_REMOTE,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed and gone, disconnected",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &our_reset,
     .wanted = TWS_END_RESET_APP,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed and gone, the program's SO_LINGER {1,0}",
     .state = TWS_CONN_OPEN,
     .flags = TWS_CONN_APP_LINGER_0,
     .owner_gone = true,
     .where = JOIN_GONE,
     .wanted = TWS_END_RESET_APP,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed and gone, the policy's SO_LINGER {1,0}",
     .state = TWS_CONN_OPEN,
     .flags = TWS_CONN_POLICY_RESET | TWS_CONN_APP_LINGER_0,
     .owner_gone = true,
     .where = JOIN_GONE,
     .wanted = TWS_END_RESET_POLICY,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed and gone, TCP_LINGER2 = -1",
     .state = TWS_CONN_OPEN,
     .flags = TWS_CONN_POLICY_LINGER2,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &dropped,
     .wanted = TWS_END_FIN_RESET,
     .wanted_via = TWS_VIA_KILL},
    {.what = "the same, and the peer's FIN was not read",
     .state = TWS_CONN_OPEN,
     .flags = TWS_CONN_POLICY_LINGER2,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &peer_first,
     .wanted = TWS_END_REMOTE_FIN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "the same, and nobody listened",
     .state = TWS_CONN_OPEN,
     .flags = TWS_CONN_POLICY_LINGER2,
     .owner_gone = true,
     .where = JOIN_GONE,
     .wanted = TWS_END_FIN_RESET,
     .wanted_via = TWS_VIA_KILL},
    {.what = "the same after a shutdown: TIME_WAIT may have come and gone",
     .state = TWS_CONN_OPEN,
     .flags = TWS_CONN_POLICY_LINGER2 | TWS_CONN_SHUT_WRITE,
     .owner_gone = true,
     .where = JOIN_GONE,
     .wanted = TWS_END_UNSEEN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "an old kernel's words, data unread",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &old_kernel_unread,
     .wanted = TWS_END_RESET_UNREAD,
     .wanted_via = TWS_VIA_KILL},
    {.what = "an old kernel's words, a byte or a FIN unread",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &old_kernel,
     .wanted = TWS_END_UNSEEN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "killed, in another network namespace",
     .state = TWS_CONN_OPEN,
     .owner_gone = true,
     .where = JOIN_UNKNOWN,
     .wanted = TWS_END_UNSEEN,
     .wanted_via = TWS_VIA_KILL},
    {.what = "went through exit, marked, in another network namespace",
     .state = TWS_CONN_OPEN,
     .ending = TWS_END_LOCAL_FIN,
     .via = TWS_VIA_EXIT,
     .owner_gone = true,
     .where = JOIN_UNKNOWN,
     .wanted = TWS_END_LOCAL_FIN,
     .wanted_via = TWS_VIA_EXIT},
    {.what = "went through exit, marked, its TIME_WAIT over",
     .state = TWS_CONN_OPEN,
     .ending = TWS_END_LOCAL_FIN,
     .via = TWS_VIA_EXIT,
     .owner_gone = true,
     .where = JOIN_GONE,
     .wanted = TWS_END_LOCAL_FIN,
     .wanted_via = TWS_VIA_EXIT},
    {.what = "went through exit, marked, but a child holds it",
     .state = TWS_CONN_OPEN,
     .ending = TWS_END_LOCAL_FIN,
     .via = TWS_VIA_EXIT,
     .owner_gone = true,
     .where = JOIN_HELD},
    {.what = "closed at exec",
     .state = TWS_CONN_OPEN,
     .ending = TWS_END_REMOTE_FIN,
     .via = TWS_VIA_EXEC,
     .owner_gone = true,
     .where = JOIN_GONE,
     .wanted = TWS_END_REMOTE_FIN,
     .wanted_via = TWS_VIA_EXEC},
    {.what = "marked local, but the peer was first",
     .state = TWS_CONN_OPEN,
     .ending = TWS_END_LOCAL_FIN,
     .via = TWS_VIA_EXIT,
     .owner_gone = true,
     .where = JOIN_CLOSED_THERE,
     .wanted = TWS_END_REMOTE_FIN,
     .wanted_via = TWS_VIA_EXIT},
    {.what = "left to a child, whose end the kernel told",
     .state = TWS_CONN_OPEN,
     .flags = TWS_CONN_LEFT,
     .ending = TWS_END_LOCAL_FIN,
     .via = TWS_VIA_CLOSE,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &peer_first,
     .wanted = TWS_END_REMOTE_FIN,
     .wanted_via = TWS_VIA_CLOSE},
    {.what = "left to a child, now in TIME_WAIT",
     .state = TWS_CONN_OPEN,
     .flags = TWS_CONN_LEFT,
     .via = TWS_VIA_CLOSE,
     .owner_gone = true,
     .where = JOIN_TIME_WAIT,
     .wanted = TWS_END_LOCAL_FIN,
     .wanted_via = TWS_VIA_CLOSE},
    {.what = "connecting, process lives, kernel says established",
     .state = TWS_CONN_CONNECTING,
     .where = JOIN_HELD,
     .wanted_established = true},
    {.what = "connecting, process lives, SYN not answered",
     .state = TWS_CONN_CONNECTING,
     .where = JOIN_CONNECTING},
    {.what = "connecting and killed, gone",
     .state = TWS_CONN_CONNECTING,
     .owner_gone = true,
     .where = JOIN_GONE,
     .wanted = TWS_END_ABANDONED,
     .wanted_via = TWS_VIA_KILL},
    {.what = "connecting and killed, SYN never answered",
     .state = TWS_CONN_CONNECTING,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &never_answered,
     .wanted = TWS_END_ABANDONED,
     .wanted_via = TWS_VIA_KILL},
    {.what = "connecting and killed, but SYN answered and the peer closed first",
     .state = TWS_CONN_CONNECTING,
     .owner_gone = true,
     .where = JOIN_GONE,
     .words = &peer_first,
     .wanted = TWS_END_REMOTE_FIN,
     .wanted_via = TWS_VIA_KILL,
     .wanted_established = true},
    {.what = "connecting and killed, TIME_WAIT stands",
     .state = TWS_CONN_CONNECTING,
     .owner_gone = true,
     .where = JOIN_TIME_WAIT,
     .wanted = TWS_END_LOCAL_FIN,
     .wanted_via = TWS_VIA_KILL,
     .wanted_established = true},
    {.what = "connecting, marked as failed at exit",
     .state = TWS_CONN_CONNECTING,
     .ending = TWS_END_FAILED,
     .via = TWS_VIA_EXIT,
     .owner_gone = true,
     .where = JOIN_GONE,
     .wanted = TWS_END_FAILED,
     .wanted_via = TWS_VIA_EXIT},
    {.what = "adopted: nobody's here",
     .state = TWS_CONN_OPEN,
     .flags = TWS_CONN_ADOPTED,
     .owner_gone = true,
     .where = JOIN_TIME_WAIT},
    {.what = "being filled in",
     .state = TWS_CONN_CLAIMED,
     .owner_gone = true,
     .where = JOIN_GONE},
};

static void every_slot_is_settled_as_the_table_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct row *row = &rows[i];
		struct tws_connection slot = {.state = row->state,
					      .flags = row->flags,
					      .ending = row->ending,
					      .via = row->via,
					      .failure = TWS_failed_refused};
		struct join_facts facts = {.slot = &slot,
					   .owner_gone = row->owner_gone,
					   .where = row->where,
					   .last_words = row->words,
					   .fresh = !row->stale};
		struct join_verdict verdict = join_decide(&facts);

		if (verdict.ended != (row->wanted != NOT_ENDED) ||
		    verdict.established != row->wanted_established ||
		    (verdict.ended &&
		     (verdict.ending != row->wanted || verdict.via != row->wanted_via)))
			fail_msg("%s: ended %d as %d by %d, established %d", row->what,
				 verdict.ended, verdict.ending, verdict.via,
				 verdict.established);
	}
}

static void the_kernels_states_say_who_closed_and_who_holds(void **state)
{
	static const struct {
		uint8_t state;
		uint32_t inode;
		enum join_where wanted;
	} states[] = {
	    {TCP_ESTABLISHED, 1, JOIN_HELD},
	    {TCP_CLOSE_WAIT, 1, JOIN_HELD},
	    {TCP_SYN_SENT, 1, JOIN_CONNECTING},
	    {TCP_FIN_WAIT1, 0, JOIN_CLOSED_HERE},
	    {TCP_FIN_WAIT2, 0, JOIN_CLOSED_HERE},
	    {TCP_CLOSING, 0, JOIN_CLOSED_HERE},
	    {TCP_FIN_WAIT2, 1, JOIN_HELD},
	    {TCP_LAST_ACK, 0, JOIN_CLOSED_THERE},
	    {TCP_LAST_ACK, 1, JOIN_HELD},
	    {TCP_TIME_WAIT, 0, JOIN_TIME_WAIT},
	    {TCP_CLOSE, 0, JOIN_GONE},
	};

	(void)state;
	assert_int_equal(join_where(NULL), JOIN_GONE);
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		struct kernel_socket socket = {.state = states[i].state,
					       .inode = states[i].inode};

		assert_int_equal(join_where(&socket), states[i].wanted);
	}
}

static void assert_identities(const struct tws_counters *counters)
{
	const uint64_t *value = counters->value;

	assert_int_equal(value[TWS_attempts],
			 value[TWS_established] + join_failed(counters) +
			     value[TWS_abandoned] + value[TWS_connecting]);
	assert_int_equal(value[TWS_established], value[TWS_open] + join_ended(counters));
}

/* The steps in which the shim counts a connection. SIGKILL may come before any of them.
 */
enum step {
	CLAIMED,
	CONNECTING,
	COUNTED_ATTEMPT,
	OPEN,
	COUNTED_ESTABLISHED,
	ENDING,
	WROTE_ENDING,
	COUNTED_ENDED,
	COUNTED_VIA,
	FREE,
	STEPS
};

static void play(struct saved *saved, enum step until)
{
	struct tws_connection *slot = saved_connection(saved, TWS_CONN_FREE, 77);
	uint64_t *value = saved->destinations[1].counters.value;

	slot->state = until >= CLAIMED ? TWS_CONN_CLAIMED : TWS_CONN_FREE;
	slot->established_ns = 0;
	if (until >= CONNECTING)
		slot->state = TWS_CONN_CONNECTING;
	if (until >= COUNTED_ATTEMPT)
		value[TWS_attempts]++;
	if (until >= OPEN) {
		slot->established_ns = SAVED_SECOND;
		slot->state = TWS_CONN_OPEN;
	}
	if (until >= COUNTED_ESTABLISHED)
		value[TWS_established]++;
	if (until >= ENDING)
		slot->state = TWS_CONN_ENDING;
	if (until >= WROTE_ENDING) {
		slot->ending = TWS_END_LOCAL_FIN;
		slot->via = TWS_VIA_CLOSE;
	}
	if (until >= COUNTED_ENDED)
		value[TWS_ended_local_fin]++;
	if (until >= COUNTED_VIA)
		value[TWS_via_close]++;
	if (until >= FREE)
		slot->state = TWS_CONN_FREE;
}

/* A model with a table in which the connection of play() is in TIME_WAIT. */
static struct model *model_with(uint64_t cookie, uint8_t tcp_state)
{
	struct model_options options = {0};
	struct model *model = model_new(&options);
	struct kernel_table table = {0};
	struct kernel_socket socket = {
	    .cookie = cookie, .state = tcp_state, .expires_ms = 59000};

	assert_non_null(model);
	if (cookie)
		assert_int_equal(kernel_table_add(&table, &socket), 0);
	assert_int_equal(model_use_table(model, &table, 100 * SAVED_SECOND, 1), 0);
	return model;
}

static void sigkill_at_any_step_leaves_one_connection_ended_once(void **state)
{
	(void)state;
	for (enum step step = CLAIMED; step < STEPS; step++) {
		struct model *model = model_with(77, TCP_TIME_WAIT);
		static struct saved saved;
		struct segment segment;
		const uint64_t *value = saved.destinations[1].counters.value;

		saved_init(&saved, "/usr/bin/x", NULL);
		saved_destination(&saved, saved_ipv4(7, 6379));
		play(&saved, step);
		segment = saved_segment(&saved, PROCESS_DEAD);
		model_settle(model, &segment);
		join_derive(&saved.destinations[1].counters);
		assert_identities(&saved.destinations[1].counters);
		assert_int_equal(value[TWS_open], 0);
		assert_int_equal(value[TWS_connecting], 0);
		assert_int_equal(value[TWS_attempts], step == CLAIMED ? 0 : 1);
		assert_int_equal(value[TWS_ended_local_fin], step == CLAIMED ? 0 : 1);
		assert_int_equal(value[TWS_ended_unseen], 0);
		model_free(model);
	}
}

static void a_living_process_is_never_settled(void **state)
{
	(void)state;
	for (enum step step = CLAIMED; step < STEPS; step++) {
		struct model *model = model_with(0, 0);
		static struct saved saved;
		struct tws_counters before;
		struct segment segment;

		saved_init(&saved, "/usr/bin/x", NULL);
		saved_destination(&saved, saved_ipv4(7, 6379));
		play(&saved, step);
		before = saved.destinations[1].counters;
		segment = saved_segment(&saved, PROCESS_ALIVE);
		model_settle(model, &segment);
		assert_memory_equal(&before, &saved.destinations[1].counters,
				    sizeof(before));
		join_derive(&saved.destinations[1].counters);
		assert_identities(&saved.destinations[1].counters);
		model_free(model);
	}
}

static void
a_process_that_cannot_be_seen_counts_as_living_until_it_went_through_exit(void **state)
{
	struct model *model = model_with(77, TCP_TIME_WAIT);
	static struct saved saved;
	struct segment segment;

	(void)state;
	saved_init(&saved, "/usr/bin/x", NULL);
	saved_destination(&saved, saved_ipv4(7, 6379));
	play(&saved, COUNTED_ESTABLISHED);
	segment = saved_segment(&saved, PROCESS_UNKNOWN);
	model_settle(model, &segment);
	assert_int_equal(saved.destinations[1].counters.value[TWS_ended_local_fin], 0);
	segment.header.state = TWS_SEGMENT_EXITED;
	model_settle(model, &segment);
	assert_int_equal(saved.destinations[1].counters.value[TWS_ended_local_fin], 1);
	model_free(model);
}

static void
a_dead_process_is_settled_only_when_its_observer_is_gone_and_by_no_way(void **state)
{
	struct model *model = model_with(77, TCP_TIME_WAIT);
	static struct saved saved;
	struct segment segment;
	uint64_t *value;

	(void)state;
	saved_init(&saved, "/usr/bin/x", NULL);
	value = saved_destination(&saved, saved_ipv4(7, 6379));
	play(&saved, COUNTED_ESTABLISHED);
	saved.header.observer = TWS_OBSERVER_BPF;
	segment = saved_segment(&saved, PROCESS_DEAD);
	segment.is_observed = true;
	model_settle(model, &segment);
	assert_int_equal(join_ended(&saved.destinations[1].counters), 0);
	segment.is_observed = false;
	model_settle(model, &segment);
	assert_int_equal(value[TWS_ended_local_fin], 1);
	assert_int_equal(value[TWS_via_kill], 0);
	model_free(model);
}

/* A table that was read before a connection began says nothing about it. */
static void what_is_younger_than_the_table_stays_open(void **state)
{
	struct model *model = model_with(0, 0);
	static struct saved saved;
	struct segment segment;
	uint64_t *value;

	(void)state;
	saved_init(&saved, "/usr/bin/x", NULL);
	value = saved_destination(&saved, saved_ipv4(7, 6379));
	play(&saved, COUNTED_ESTABLISHED);
	saved.connections[0].flags = TWS_CONN_LEFT;
	saved.connections[0].began_ns = model->table_ns + 1;
	segment = saved_segment(&saved, PROCESS_ALIVE);
	model_settle(model, &segment);
	assert_int_equal(join_ended(&saved.destinations[1].counters), 0);
	saved.connections[0].began_ns = model->table_ns - 1;
	model_settle(model, &segment);
	assert_int_equal(value[TWS_ended_unseen], 1);
	model_free(model);
}

static void counters_read_amid_an_update_still_add_up(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 10000; round++) {
		struct tws_counters counters = {0};

		for (unsigned i = 0; i < TWS_COUNTERS; i++)
			counters.value[i] = (uint64_t)rand_r(&seed) % 100;
		join_derive(&counters);
		assert_identities(&counters);
		assert_true(counters.value[TWS_peak_open] >= counters.value[TWS_open]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_slot_is_settled_as_the_table_says),
	    cmocka_unit_test(the_kernels_states_say_who_closed_and_who_holds),
	    cmocka_unit_test(sigkill_at_any_step_leaves_one_connection_ended_once),
	    cmocka_unit_test(a_living_process_is_never_settled),
	    cmocka_unit_test(
		a_dead_process_is_settled_only_when_its_observer_is_gone_and_by_no_way),
	    cmocka_unit_test(
		a_process_that_cannot_be_seen_counts_as_living_until_it_went_through_exit),
	    cmocka_unit_test(what_is_younger_than_the_table_stays_open),
	    cmocka_unit_test(counters_read_amid_an_update_still_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
