/* SPDX-License-Identifier: MIT
 *
 * The publisher of observers: whatever an observer tells, in whatever order, a reader
 * finds a segment whose counters add up.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/observe/bpf.h"
#include "tools/observe/call.h"
#include "tools/model/join.h"
#include "tools/observe/open_table.h"
#include "tools/observe/publish.h"
#include "shim/shared/tcp_state.h"
#include "tools/observe/wake_here.h"
#include "tools/segments/reader.h"

#define COOKIES 2000

/* Every second one differs from another one only in its high half. */
static uint64_t cookie_of(unsigned number)
{
	return (uint64_t)(number & 1) << 32 | (number / 2 + 1);
}

static void what_was_added_and_not_removed_is_found(void **state)
{
	struct open_table table = {0};
	static bool there[COOKIES];
	struct open_connection *found;
	size_t count = 0;
	unsigned number;

	(void)state;
	srand(7);
	for (int step = 0; step < 200000; step++) {
		number = (unsigned)rand() % COOKIES;
		found = open_table_find(&table, cookie_of(number));
		assert_int_equal(found != NULL, there[number]);
		if (found) {
			assert_int_equal(found->began_ns, number);
			open_table_remove(&table, found);
		} else {
			found = open_table_add(&table, cookie_of(number));
			assert_non_null(found);
			found->began_ns = number;
		}
		there[number] = !there[number];
		count += there[number] ? 1 : (size_t)-1;
		assert_int_equal(table.count, count);
	}
	open_table_free(&table);
}

/* The numbers are of no descriptors, so the kernel is told nothing. */
static void call(struct wake_here *wake, int listener, pid_t thread, int times)
{
	while (times--)
		wake_here_note(wake, listener, thread);
}

static void who_calls_alone_is_woken_on_its_own_core(void **state)
{
	struct wake_here wake = {0};
	const int one = 1 << 20, other = one + 1, same_place = one + WAKE_PLACES;
	const struct wake_place *place = &wake.place[one % WAKE_PLACES];

	(void)state;
	call(&wake, one, 7, 60);
	assert_false(place->on);
	call(&wake, other, 8, 1);
	call(&wake, one, 7, 10);
	assert_true(place->on);
	call(&wake, one, 9, 1);
	assert_false(place->on);
	call(&wake, one, 7, 60);
	assert_false(place->on);
	call(&wake, one, 7, 10);
	assert_true(place->on);
	call(&wake, same_place, 7, 1);
	assert_false(place->on);
	call(&wake, same_place, 7, 100);
	assert_true(place->on);
	wake_here_drop(&wake, same_place);
	assert_false(place->on);
}

struct stage {
	char path[64];
	int fd;
	struct publisher *publisher;
	struct published *published;
	struct tws_counters counters; /* of the last reading, all destinations */
	uint64_t time_wait;
};

static int directory_of(void *data, uint32_t uid)
{
	(void)uid;
	return ((struct stage *)data)->fd;
}

static int set_up(void **state)
{
	struct stage *stage = calloc(1, sizeof(*stage));
	const struct publish_place place = {.directory = directory_of, .data = stage};
	struct publish_subject subject = {.pid_namespace = 1,
					  .net_namespace = 2,
					  .start_time = 3,
					  .pid = 4242,
					  .uid = geteuid(),
					  .exe = "/usr/bin/go-client"};

	assert_non_null(stage);
	snprintf(stage->path, sizeof(stage->path), "/dev/shm/twshim-observe.XXXXXX");
	assert_non_null(mkdtemp(stage->path));
	stage->fd = open(stage->path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(publisher_open(&stage->publisher, TWS_OBSERVER_BPF, &place), 0);
	stage->published = publish_process(stage->publisher, &subject);
	assert_non_null(stage->published);
	*state = stage;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *stage = *state;

	publisher_close(stage->publisher);
	unlinkat(stage->fd, "1-4242-3-0.seg", 0);
	close(stage->fd);
	rmdir(stage->path);
	free(stage);
	return 0;
}

static int take(struct segment *segment, void *data)
{
	struct stage *stage = data;

	assert_int_equal(segment->header.observer, TWS_OBSERVER_BPF);
	assert_string_equal(segment->header.exe, "/usr/bin/go-client");
	memset(&stage->counters, 0, sizeof(stage->counters));
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++)
		join_add(&stage->counters, &segment->destinations[i].counters);
	stage->time_wait = segment->header.time_wait_tickets;
	return 1;
}

/* The counters as a reader finds them; open and connecting are what they leave. */
static const uint64_t *read_back(struct stage *stage)
{
	struct reader reader;

	assert_int_equal(reader_init(&reader), 0);
	assert_int_equal(reader_read(&reader, stage->path, true, take, stage), 1);
	reader_free(&reader);
	join_derive(&stage->counters);
	return stage->counters.value;
}

static struct publish_connection connection(uint64_t cookie, enum tws_ending ending)
{
	return (struct publish_connection){
	    .cookie = cookie,
	    .began_ns = 1000,
	    .established_ns = 2000,
	    .closed_ns = 3000,
	    .ended_ns = 4000,
	    .remote = {.bytes = {10, 0, 0, 7}, .port = 6379, .family = TWS_IPV4},
	    .ending = ending,
	    .time_wait = ending == TWS_END_LOCAL_FIN};
}

static void each_step_is_counted_once_however_often_it_is_told(void **state)
{
	struct stage *stage = *state;
	struct publish_connection one = connection(77, TWS_END_LOCAL_FIN);
	const uint64_t *value;

	for (int i = 0; i < 2; i++)
		publish_begun(stage->published, &one);
	value = read_back(stage);
	assert_int_equal(value[TWS_attempts], 1);
	assert_int_equal(value[TWS_connecting], 1);
	for (int i = 0; i < 2; i++)
		publish_established(stage->published, &one);
	value = read_back(stage);
	assert_int_equal(value[TWS_open], 1);
	assert_int_equal(value[TWS_peak_open], 1);
	publish_closed(stage->publisher, one.cookie, one.closed_ns);
	publish_ended(stage->published, &one);
	value = read_back(stage);
	assert_int_equal(value[TWS_established], 1);
	assert_int_equal(value[TWS_ended_local_fin], 1);
	assert_int_equal(value[TWS_open], 0);
	assert_int_equal(stage->time_wait, 1);
	assert_null(publish_find(stage->publisher, one.cookie));
}

static void an_end_alone_makes_up_for_what_was_lost(void **state)
{
	struct stage *stage = *state;
	struct publish_connection one = connection(77, TWS_END_REMOTE_FIN);
	struct publish_connection failed = connection(78, TWS_END_FAILED);
	const uint64_t *value;

	failed.established_ns = 0;
	failed.failure = TWS_failed_refused;
	publish_ended(stage->published, &one);
	publish_ended(stage->published, &failed);
	value = read_back(stage);
	assert_int_equal(value[TWS_attempts], 2);
	assert_int_equal(value[TWS_established], 1);
	assert_int_equal(value[TWS_ended_remote_fin], 1);
	assert_int_equal(value[TWS_failed_refused], 1);
	assert_int_equal(value[TWS_open] + value[TWS_connecting], 0);
}

static bool is_odd(void *data, uint64_t cookie)
{
	(void)data;
	return cookie % 2;
}

static void what_went_unseen_is_ended_and_the_rest_stays_open(void **state)
{
	struct stage *stage = *state;
	struct publish_connection one;
	const uint64_t *value;

	for (uint64_t cookie = 1; cookie <= 100; cookie++) {
		one = connection(cookie, TWS_END_NONE);
		publish_established(stage->published, &one);
	}
	publish_unseen(stage->publisher, is_odd, NULL);
	value = read_back(stage);
	assert_int_equal(value[TWS_ended_unseen], 50);
	assert_int_equal(value[TWS_open], 50);
	assert_int_equal(value[TWS_peak_open], 100);
}

static void an_adopted_one_was_never_opened(void **state)
{
	struct stage *stage = *state;
	struct publish_connection one = connection(77, TWS_END_LOCAL_FIN);
	const uint64_t *value;

	publish_adopted(stage->published, &one);
	value = read_back(stage);
	assert_int_equal(value[TWS_adopted], 1);
	assert_int_equal(value[TWS_attempts] + value[TWS_established], 0);
	assert_int_equal(stage->time_wait, 1);
}

static void more_connections_than_slots_are_counted_all_the_same(void **state)
{
	struct stage *stage = *state;
	struct publish_connection one;
	const uint64_t *value;

	for (uint64_t cookie = 1; cookie <= 6000; cookie++) {
		one = connection(cookie, TWS_END_LOCAL_FIN);
		publish_established(stage->published, &one);
	}
	value = read_back(stage);
	assert_int_equal(value[TWS_open], 6000);
	for (uint64_t cookie = 1; cookie <= 6000; cookie++) {
		one = connection(cookie, TWS_END_LOCAL_FIN);
		publish_ended(stage->published, &one);
	}
	value = read_back(stage);
	assert_int_equal(value[TWS_ended_local_fin], 6000);
	assert_int_equal(value[TWS_open], 0);
}

#define ON_STAGE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/* ------------------------------------------------------------- the last words */

static const struct attempt_limits limits = {.syn_retries = 6, .user_timeout_ms = 1000};

static struct publish_connection decided(const struct last_words *words, uint32_t flags,
					 enum tws_ending at_close)
{
	const struct publish_connection begun = {
	    .cookie = 1, .began_ns = 1000000000, .flags = flags};
	struct publish_connection ended;

	last_words_decide(words, &begun, &limits, at_close, &ended);
	return ended;
}

static void last_words_tell_how_a_connection_ended(void **state)
{
	struct last_words words = {.read_ns = 2000000000, .fin_acked = true};

	words.info.tcpi_bytes_acked = 3;
	words.time_wait = true;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_LOCAL_FIN);
	words.time_wait = false;
	words.info.tcpi_bytes_received = 1;
	words.info.tcpi_segs_in = 3;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_REMOTE_FIN);
	assert_int_equal(decided(&words, TWS_CONN_POLICY_LINGER2, TWS_END_NONE).ending,
			 TWS_END_FIN_RESET);
	assert_int_equal(
	    decided(&words, TWS_CONN_POLICY_LINGER2, TWS_END_REMOTE_FIN).ending,
	    TWS_END_REMOTE_FIN);
	words.unread = 1;
	assert_int_equal(decided(&words, TWS_CONN_POLICY_LINGER2, TWS_END_NONE).ending,
			 TWS_END_REMOTE_FIN);
	words.unread = 0;
	words.late = true;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_UNSEEN);
	words = (struct last_words){.read_ns = 2000000000, .unread = 5};
	words.info.tcpi_bytes_acked = 1;
	words.info.tcpi_segs_out = 3;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_RESET_UNREAD);
	words.unread = 0;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_RESET_REMOTE);
	words.info.tcpi_segs_out = 0;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_RESET_APP);
}

static void a_peer_closed_first_only_if_its_fin_came_before_it_answered_ours(void **state)
{
	struct last_words words = {.read_ns = 2000000000, .fin_acked = true};

	(void)state;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_LOCAL_FIN);
	assert_int_equal(decided(&words, TWS_CONN_POLICY_LINGER2, TWS_END_NONE).ending,
			 TWS_END_FIN_RESET);
	words.late = true;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_LOCAL_FIN);
	words.info.tcpi_bytes_received = 1;
	words.info.tcpi_segs_in = 2; /* its SYN, and its FIN that acknowledges ours */
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_LOCAL_FIN);
	words.info.tcpi_bytes_received = 4;
	words.info.tcpi_data_segs_in = 1;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_LOCAL_FIN);
	words.info.tcpi_segs_in = 3;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_UNSEEN);
	assert_int_equal(decided(&words, 0, TWS_END_LOCAL_FIN).ending, TWS_END_LOCAL_FIN);
	words.late = false;
	words.taken = true;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_REMOTE_FIN);
	assert_int_equal(decided(&words, TWS_CONN_APP_BOUND, TWS_END_NONE).ending,
			 TWS_END_UNSEEN);
	words.unread = 1;
	assert_int_equal(decided(&words, 0, TWS_END_LOCAL_FIN).ending,
			 TWS_END_REMOTE_FIN);
}

static void last_words_of_an_attempt_tell_why_it_failed(void **state)
{
	struct last_words words = {.read_ns = 2000000000};

	words.info.tcpi_last_data_sent = 100000;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).failure, TWS_failed_other);
	words.info.tcpi_segs_out = 1;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_ABANDONED);
	words.info.tcpi_segs_in = 1;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).failure, TWS_failed_refused);
	words.info.tcpi_segs_in = 0;
	words.info.tcpi_total_retrans = 1;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).failure, TWS_failed_timed_out);
	words.read_ns = 1999000000; /* younger than its user timeout */
	assert_int_equal(decided(&words, 0, TWS_END_NONE).ending, TWS_END_ABANDONED);
	words.info.tcpi_total_retrans = 6;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).failure, TWS_failed_timed_out);
}

static void the_peers_fin_is_no_byte_of_the_programs(void **state)
{
	struct last_words words = {
	    .read_ns = 2000000000, .fin_acked = true, .time_wait = true};

	words.info.tcpi_segs_out = 5;
	words.info.tcpi_bytes_received = 10;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).bytes_received, 10);
	words.unread = 1;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).bytes_received, 9);
	words.unread = 0;
	words.time_wait = false;
	words.info.tcpi_segs_in = 3;
	assert_int_equal(decided(&words, 0, TWS_END_NONE).bytes_received, 9);
}

static void what_a_close_showed_completes_the_bytes(void **state)
{
	struct publish_connection begun = {
	    .cookie = 1, .began_ns = 1000000000, .bytes_sent = 7, .bytes_received = 9};
	struct publish_connection ended;
	struct last_words words = {.read_ns = 2000000000, .unread = 11};

	(void)state;
	words.info.tcpi_bytes_acked = 1;
	last_words_decide(&words, &begun, &limits, TWS_END_RESET_POLICY, &ended);
	assert_int_equal(ended.bytes_sent, 7); /* the reset emptied the counters */
	assert_int_equal(ended.bytes_received, 9);
	words.info.tcpi_segs_out = 5;
	words.info.tcpi_bytes_received = 11;
	words.info.tcpi_notsent_bytes = 100;
	last_words_decide(&words, &begun, &limits, TWS_END_NONE, &ended);
	assert_int_equal(ended.ending, TWS_END_RESET_UNREAD);
	assert_int_equal(ended.bytes_sent, 100);
	assert_int_equal(ended.bytes_received, 11);
	begun.state_at_close = STATE_CLOSE_WAIT;
	last_words_decide(&words, &begun, &limits, TWS_END_NONE, &ended);
	assert_int_equal(ended.bytes_received, 10);
	begun.state_at_close = STATE_CLOSE; /* the program had shut down */
	words.fin_acked = words.time_wait = true;
	words.unread = 0;
	last_words_decide(&words, &begun, &limits, TWS_END_NONE, &ended);
	assert_int_equal(ended.bytes_received, 10);
}

static void what_became_of_an_unseen_end_is_in_the_kernels_table(void **state)
{
	struct bpf_connection connection = {.kind = BPF_EVENT_ESTABLISHED};
	struct kernel_socket socket = {.state = STATE_TIME_WAIT};

	assert_int_equal(bpf_repair_decide(&connection, NULL, false), TWS_END_ABANDONED);
	connection.established_ns = 1;
	assert_int_equal(bpf_repair_decide(&connection, NULL, false), TWS_END_UNSEEN);
	assert_int_equal(bpf_repair_decide(&connection, &socket, false),
			 TWS_END_LOCAL_FIN);
	assert_int_equal(bpf_repair_decide(&connection, &socket, true),
			 TWS_END_LOCAL_FIN);
	socket.state = STATE_FIN_WAIT2; /* of a socket that lives, or of a TIME_WAIT */
	assert_int_equal(bpf_repair_decide(&connection, &socket, false), TWS_END_NONE);
	assert_int_equal(bpf_repair_decide(&connection, &socket, true),
			 TWS_END_LOCAL_FIN);
	connection.last_ack = 1;
	assert_int_equal(bpf_repair_decide(&connection, NULL, true), TWS_END_REMOTE_FIN);
	socket.state = STATE_LAST_ACK;
	assert_int_equal(bpf_repair_decide(&connection, &socket, false), TWS_END_NONE);
}

/* Else a connection that lies in its place until its socket's memory is used again would
 * be counted once more. */
static void what_is_forgotten_is_in_no_place(void **state)
{
	struct bpf_source source = {.places = calloc(BPF_PLACES, sizeof(*source.places))};

	(void)state;
	assert_non_null(source.places);
	source.places[7] = (struct bpf_place){
	    .owner = 1, .connection = {.kind = BPF_EVENT_ESTABLISHED, .cookie = 70}};
	source.places[8] = (struct bpf_place){
	    .owner = 2, .connection = {.kind = BPF_EVENT_ESTABLISHED, .cookie = 80}};
	cookie_map_add(&source.repaired, 70, 0);
	cookie_map_add(&source.repaired, 90, 0);
	bpf_repair_forget(&source);
	assert_true(bpf_repair_has(&source, 70));
	assert_false(bpf_repair_has(&source, 80));
	assert_false(bpf_repair_has(&source, 90));
	cookie_map_free(&source.repaired);
	free(source.places);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(last_words_tell_how_a_connection_ended),
	    cmocka_unit_test(
		a_peer_closed_first_only_if_its_fin_came_before_it_answered_ours),
	    cmocka_unit_test(what_a_close_showed_completes_the_bytes),
	    cmocka_unit_test(last_words_of_an_attempt_tell_why_it_failed),
	    cmocka_unit_test(the_peers_fin_is_no_byte_of_the_programs),
	    cmocka_unit_test(what_became_of_an_unseen_end_is_in_the_kernels_table),
	    cmocka_unit_test(what_is_forgotten_is_in_no_place),
	    cmocka_unit_test(what_was_added_and_not_removed_is_found),
	    cmocka_unit_test(who_calls_alone_is_woken_on_its_own_core),
	    ON_STAGE(each_step_is_counted_once_however_often_it_is_told),
	    ON_STAGE(an_end_alone_makes_up_for_what_was_lost),
	    ON_STAGE(what_went_unseen_is_ended_and_the_rest_stays_open),
	    ON_STAGE(an_adopted_one_was_never_opened),
	    ON_STAGE(more_connections_than_slots_are_counted_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
