/* SPDX-License-Identifier: MIT
 *
 * The reader's end of the queue of ended connections.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "tools/observe/bpf.h"

#define PLACES 4u

struct fixture {
	struct bpf_source source;
	struct bpf_ended ended[PLACES];
	struct bpf_queue queue;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->source.ended = fixture->ended;
	fixture->source.queue = &fixture->queue;
	fixture->source.ended_count = PLACES;
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	free(fixture->source.changes);
	free(fixture);
	return 0;
}

/* As the program in the kernel does. False: the place is not free. */
static bool take(struct fixture *fixture, uint64_t *ret_at)
{
	uint64_t at = fixture->queue.filled;

	if (at - fixture->queue.taken >= PLACES)
		return false;
	fixture->queue.filled++;
	*ret_at = at;
	return true;
}

static void hand_over(struct fixture *fixture, uint64_t at)
{
	fixture->ended[at % PLACES].connection =
	    (struct bpf_connection){.kind = BPF_EVENT_ENDED, .ended_ns = at + 1};
	fixture->ended[at % PLACES].number = at + 1;
}

static size_t read_all(struct fixture *fixture)
{
	bpf_queue_read(&fixture->source, bpf_queue_filled(&fixture->source));
	return fixture->source.change_count;
}

static void test_what_was_handed_over_is_noted_once(void **state)
{
	struct fixture *fixture = *state;
	uint64_t at = 0;

	for (size_t i = 0; i < 3 * PLACES + 1; i++) {
		assert_true(take(fixture, &at));
		hand_over(fixture, at);
		assert_int_equal(read_all(fixture), i + 1);
		assert_int_equal(read_all(fixture), i + 1);
	}
	assert_int_equal(fixture->queue.taken, 3 * PLACES + 1);
}

static void test_a_full_queue_takes_none_until_it_is_read(void **state)
{
	struct fixture *fixture = *state;
	uint64_t at = 0;

	for (size_t i = 0; i < PLACES; i++) {
		assert_true(take(fixture, &at));
		hand_over(fixture, at);
	}
	assert_false(take(fixture, &at));
	assert_int_equal(read_all(fixture), PLACES);
	assert_true(take(fixture, &at));
}

static void test_one_that_is_being_filled_holds_up_those_behind_it(void **state)
{
	struct fixture *fixture = *state;
	uint64_t first = 0, second = 0;

	assert_true(take(fixture, &first));
	assert_true(take(fixture, &second));
	hand_over(fixture, second);
	assert_int_equal(read_all(fixture), 0);
	hand_over(fixture, first);
	assert_int_equal(read_all(fixture), 2);
}

static void test_nothing_is_read_past_what_was_filled_then(void **state)
{
	struct fixture *fixture = *state;
	uint64_t at = 0;

	for (size_t i = 0; i < 2; i++) {
		assert_true(take(fixture, &at));
		hand_over(fixture, at);
	}
	bpf_queue_read(&fixture->source, 1);
	assert_int_equal(fixture->source.change_count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_what_was_handed_over_is_noted_once,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_a_full_queue_takes_none_until_it_is_read,
					    set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_one_that_is_being_filled_holds_up_those_behind_it, set_up,
		tear_down),
	    cmocka_unit_test_setup_teardown(
		test_nothing_is_read_past_what_was_filled_then, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
