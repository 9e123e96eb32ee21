/* SPDX-License-Identifier: MIT
 *
 * Books: where destinations are counted, what happens when the file is truncated or the
 * process forks, and where counts go before there is a book.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "shim/book/destinations.h"
#include "shim/book/fds.h"
#include "tests/unit/own_book.h"

static const struct tws_settings small = {
    .connections = 4, .destinations = 4, .ended = 8, .time_wait = 8};
static struct tws_book *book;
static char path[1024];

static int new_book(void **state)
{
	(void)state;
	book = make_book(&small, path);
	return book ? 0 : -1;
}

static int drop_book(void **state)
{
	(void)state;
	tws_own_book = NULL;
	tws_books_forked(); /* lets go of all books that no descriptor leads to */
	return 0;
}

static struct tws_address address(uint8_t host, uint16_t port)
{
	return (struct tws_address){
	    .bytes = {10, 0, 0, host}, .port = port, .family = TWS_IPV4};
}

static void a_destination_keeps_its_entry(void **state)
{
	struct tws_address a = address(1, 80), b = address(1, 81), c = address(2, 80);
	uint16_t first = tws_book_destination(book, &a);

	(void)state;
	assert_int_not_equal(first, 0);
	assert_int_not_equal(tws_book_destination(book, &b), first);
	assert_int_not_equal(tws_book_destination(book, &c), first);
	assert_int_equal(tws_book_destination(book, &a), first);
	assert_memory_equal(&book->destinations[first].address, &a, sizeof(a));
}

static void destinations_beyond_the_table_are_counted_as_other(void **state)
{
	struct tws_address known = address(1, 80), late = address(9, 80);
	uint16_t first = tws_book_destination(book, &known);

	(void)state;
	for (uint8_t host = 2; host < 9; host++) {
		struct tws_address more = address(host, 80);

		tws_book_destination(book, &more);
	}
	assert_int_equal(tws_book_destination(book, &late), 0);
	assert_int_equal(tws_book_destination(book, &known), first);
}

static void counts_from_before_the_book_are_moved_into_it(void **state)
{
	struct tws_book *own = tws_own_book;

	(void)state;
	tws_own_book = NULL;
	tws_count_process(TWS_unobserved);
	tws_count_process(TWS_unobserved);
	assert_int_equal(own->process->value[TWS_unobserved], 0);
	tws_own_book = own;
	tws_book_take_early(own);
	tws_book_take_early(own);
	assert_int_equal(own->process->value[TWS_unobserved], 2);
}

/* Without the look, the next touch of the mapping would raise SIGBUS. */
static void a_truncated_file_is_let_go_and_its_connections_are_unobserved(void **state)
{
	(void)state;
	tws_fd_set(700, TWS_FD_SLOT | (uint32_t)(book - tws_books) << 24 | 1);
	tws_book_check();
	assert_ptr_equal(tws_own_book, book);
	assert_int_equal(truncate(path, 0), 0);
	tws_book_check();
	assert_null(tws_own_book);
	assert_int_equal(tws_fd(700), 0);
	book->process->value[TWS_attempts]++; /* private memory stands there now */
	new_book(state);
	tws_book_take_early(book);
	assert_int_equal(book->process->value[TWS_unobserved], 1);
}

static void a_forked_child_has_no_book_and_no_counts_of_its_parent(void **state)
{
	struct tws_header *header = book->header;

	(void)state;
	tws_count_process(TWS_stood_aside);
	tws_books_forked();
	assert_null(tws_own_book);
	assert_ptr_equal(book->header,
			 header); /* its parent's connections may be in use */
	new_book(state);
	tws_book_take_early(book);
	assert_int_equal(book->process->value[TWS_stood_aside], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_destination_keeps_its_entry, new_book,
					    drop_book),
	    cmocka_unit_test_setup_teardown(
		destinations_beyond_the_table_are_counted_as_other, new_book, drop_book),
	    cmocka_unit_test_setup_teardown(counts_from_before_the_book_are_moved_into_it,
					    new_book, drop_book),
	    cmocka_unit_test_setup_teardown(
		a_truncated_file_is_let_go_and_its_connections_are_unobserved, new_book,
		drop_book),
	    cmocka_unit_test_setup_teardown(
		a_forked_child_has_no_book_and_no_counts_of_its_parent, new_book,
		drop_book),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
