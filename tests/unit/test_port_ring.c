/* SPDX-License-Identifier: MIT
 *
 * port_ring: the oldest port first, none younger than its age, none that is in use.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/wait.h>

#include "shim/book/port_ring.h"
#include "tests/unit/own_book.h"

static uint16_t low = 40000; /* each test has a range, and so a ring, of its own */

static int next_range(void **state)
{
	(void)state;
	low += 4;
	return 0;
}

static int take(uint32_t age_ms, uint16_t *ret_port, uint32_t *ret_word)
{
	uint32_t wait_ms;

	return tws_port_ring_take(low, low + 3, age_ms, ret_port, ret_word, &wait_ms);
}

static void ports_come_in_turn_and_none_twice(void **state)
{
	uint32_t word, wait_ms;
	uint16_t port;

	(void)state;
	for (uint16_t i = 0; i < 4; i++) {
		assert_int_equal(take(1000, &port, &word), 0);
		assert_int_equal(port, low + i);
	}
	assert_int_equal(tws_port_ring_take(low, low + 3, 1000, &port, &word, &wait_ms),
			 -EAGAIN);
	assert_int_equal(wait_ms, 0); /* all are in use: waiting does not help */
}

static void a_port_that_was_given_back_has_to_come_of_age(void **state)
{
	uint32_t word[4], wait_ms;
	uint16_t port;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(take(60000, &port, &word[i]), 0);
	for (int i = 0; i < 4; i++)
		tws_port_ring_give(word[i]);
	assert_int_equal(
	    tws_port_ring_take(low, low + 3, 60000, &port, &word[0], &wait_ms), -EAGAIN);
	assert_in_range(wait_ms, 1, 60000);
	assert_int_equal(take(0, &port, &word[0]), 0);
	assert_int_equal(port, low);
}

/* The child ends without giving its port back. */
static void a_port_of_a_dead_process_is_free_again(void **state)
{
	uint32_t word;
	uint16_t port;
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		tws_self.pid = getpid();
		_exit(take(0, &port, &word) == 0 && port == low ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	for (uint16_t i = 1; i < 4; i++)
		assert_int_equal(take(0, &port, &word), 0);
	assert_int_equal(take(0, &port, &word), 0);
	assert_int_equal(port, low);
}

static void what_is_no_ring_gives_no_port(void **state)
{
	uint32_t word, wait_ms;
	uint16_t port;

	(void)state;
	assert_true(tws_port_ring_take(0, 10, 0, &port, &word, &wait_ms) < 0);
	assert_true(tws_port_ring_take(50000, 40000, 0, &port, &word, &wait_ms) < 0);
	tws_port_ring_give(0);
	tws_port_ring_give(99u << 16 | 40000); /* no such ring: nothing happens */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(ports_come_in_turn_and_none_twice, next_range),
	    cmocka_unit_test_setup(a_port_that_was_given_back_has_to_come_of_age,
				   next_range),
	    cmocka_unit_test_setup(a_port_of_a_dead_process_is_free_again, next_range),
	    cmocka_unit_test(what_is_no_ring_gives_no_port),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
