/* SPDX-License-Identifier: MIT
 *
 * Words are changed without a lock only while one thread can write to the book.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>

#include "shim/book/fds.h"
#include "shim/book/single.h"
#include "tests/unit/own_book.h"

#define MANY 2000000

static const struct tws_settings small = {
    .connections = 4, .destinations = 4, .ended = 8, .time_wait = 8};
static struct tws_book *book;

static int new_book(void **state)
{
	char path[1024];

	(void)state;
	book = make_book(&small, path);
	tws_single_forked(); /* as if nothing had happened before */
	tws_single_begin();
	return book ? 0 : -1;
}

static int drop_book(void **state)
{
	(void)state;
	tws_single_end();
	tws_own_book = NULL;
	tws_books_forked();
	return 0;
}

static void change_words(bool single)
{
	uint64_t value = 40, place = (uint64_t)1 << 40;
	uint32_t word = 7, flags = 0xffffffff;

	tws_add_as(single, &value, 2);
	assert_true(value == 42);
	tws_add_as(single, &value, (uint64_t)-1);
	assert_true(value == 41);
	assert_true(tws_fetch_add(single, &value, (uint64_t)1 << 33) == 41);
	assert_true(value == 41 + ((uint64_t)1 << 33));
	assert_false(tws_swap_u64(single, &place, 0, 5));
	assert_true(place == (uint64_t)1 << 40);
	assert_true(tws_swap_u64(single, &place, (uint64_t)1 << 40, 5));
	assert_true(place == 5);
	assert_false(tws_swap_u32(single, &word, 8, 9));
	assert_int_equal(word, 7);
	assert_true(tws_swap_u32(single, &word, 7, 9));
	assert_int_equal(word, 9);
	assert_true(tws_clear_bit(single, &flags, 1u << 27));
	assert_int_equal(flags, ~(1u << 27));
	assert_false(tws_clear_bit(single, &flags, 1u << 27));
	assert_int_equal(flags, ~(1u << 27));
}

static void words_change_alike_with_the_lock_and_without(void **state)
{
	(void)state;
	assert_int_equal(tws_is_single(), TWS_CAN_BE_SINGLE);
	change_words(tws_is_single());
	tws_single_end();
	assert_false(tws_is_single());
	change_words(tws_is_single());
}

static void a_process_that_has_forked_uses_the_lock_for_ever(void **state)
{
	(void)state;
	tws_single_end();
	tws_single_begin(); /* a new book, after the first one was lost */
	assert_false(tws_is_single());
}

static void a_forked_child_begins_again_with_a_book_of_its_own(void **state)
{
	(void)state;
	tws_single_end();
	tws_single_forked();
	assert_false(tws_is_single());
	tws_single_begin();
	assert_int_equal(tws_is_single(), TWS_CAN_BE_SINGLE);
}

static void an_inherited_connection_keeps_the_lock(void **state)
{
	(void)state;
	tws_single_forked();
	book->made_by = 0; /* its parent's */
	tws_fd_set(5, TWS_FD_SLOT | (uint32_t)(book - tws_books) << 24);
	tws_single_begin();
	assert_false(tws_is_single());
	tws_fd_set(5, 0);
}

static bool locked_in_thread;

static void *count_many(void *value)
{
	locked_in_thread = !tws_is_single();
	for (int i = 0; i < MANY; i++)
		tws_add(value, 1);
	return NULL;
}

/* The last one: libc does not say that there is one thread again. */
static void threads_lose_no_count(void **state)
{
	uint64_t *value = &book->process->value[TWS_open];
	pthread_t thread;

	(void)state;
	assert_int_equal(tws_is_single(), TWS_CAN_BE_SINGLE);
	assert_int_equal(pthread_create(&thread, NULL, count_many, value), 0);
	assert_false(tws_is_single());
	for (int i = 0; i < MANY; i++)
		tws_add(value, 1);
	pthread_join(thread, NULL);
	assert_true(locked_in_thread);
	assert_true(*value == 2 * (uint64_t)MANY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(words_change_alike_with_the_lock_and_without,
					    new_book, drop_book),
	    cmocka_unit_test_setup_teardown(
		a_process_that_has_forked_uses_the_lock_for_ever, new_book, drop_book),
	    cmocka_unit_test_setup_teardown(
		a_forked_child_begins_again_with_a_book_of_its_own, new_book, drop_book),
	    cmocka_unit_test_setup_teardown(an_inherited_connection_keeps_the_lock,
					    new_book, drop_book),
	    cmocka_unit_test_setup_teardown(threads_lose_no_count, new_book, drop_book),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
