/* SPDX-License-Identifier: MIT
 *
 * Connections, without hooks and without a policy: sockets of this test on loopback, and
 * what the book says about them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>

#include "shim/conn/conn_move.h"
#include "shim/shared/clock.h"
#include "tests/unit/own_book.h"

static const struct tws_settings small = {
    .connections = 2, .destinations = 4, .ended = 8, .time_wait = 8};
static struct tws_book *book;
static int listener;
static struct sockaddr_in server;

static int new_book(void **state)
{
	static char path[1024];

	(void)state;
	book = make_book(&small, path);
	return book ? 0 : -1;
}

static int drop_book(void **state)
{
	(void)state;
	tws_own_book = NULL;
	tws_books_forked();
	return 0;
}

static int listen_on_loopback(void **state)
{
	socklen_t length = sizeof(server);

	server = (struct sockaddr_in){.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (make_directory(state) || bind(listener, (void *)&server, sizeof(server)) ||
	    listen(listener, 16))
		return -1;
	return getsockname(listener, (void *)&server, &length);
}

static uint64_t counted(enum tws_counter counter)
{
	uint64_t ret = book->process->value[counter];

	for (uint32_t i = 0; i < tws_book_used(book, TWS_SECTION_DESTINATIONS); i++)
		ret += book->destinations[i].counters.value[counter];
	return ret;
}

/* A connection as the hooks make it: claimed, attempted, established. */
static int open_connection(struct tws_conn *ret_conn)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	tws_fd_set(fd, TWS_FD_SOCKET);
	assert_true(tws_conn_claim(fd, 0, 0, book, ret_conn));
	assert_true(
	    tws_conn_address((void *)&server, sizeof(server), &ret_conn->slot->remote));
	ret_conn->slot->destination = tws_book_destination(book, &ret_conn->slot->remote);
	assert_true(tws_conn_move(ret_conn, TWS_CONN_CLAIMED, TWS_CONN_CONNECTING));
	tws_conn_count(ret_conn, TWS_attempts, 1);
	assert_int_equal(connect(fd, (void *)&server, sizeof(server)), 0);
	assert_true(tws_conn_establish(ret_conn, tws_conn_tally(ret_conn), tws_now()));
	return fd;
}

static void end_connection(int fd, struct tws_end *ret_end)
{
	assert_true(tws_conn_look(fd, TWS_VIA_CLOSE, ret_end));
	tws_conn_detach(ret_end);
	close(fd);
}

static void a_connection_is_counted_from_its_attempt_to_its_end(void **state)
{
	struct tws_conn conn;
	struct tws_end end;
	int fd = open_connection(&conn);

	(void)state;
	assert_int_equal(tws_conn_state(conn.slot), TWS_CONN_OPEN);
	assert_int_equal(book->process->value[TWS_open], 1);
	end_connection(fd, &end);
	assert_int_equal(end.verdict.ending, TWS_END_LOCAL_FIN);
	assert_int_equal(tws_conn_state(conn.slot), TWS_CONN_FREE);
	assert_int_equal(tws_fd(fd), 0);
	assert_int_equal(counted(TWS_attempts), 1);
	assert_int_equal(counted(TWS_established), 1);
	assert_int_equal(counted(TWS_ended_local_fin), 1);
	assert_int_equal(counted(TWS_via_close), 1);
	assert_int_equal(book->process->value[TWS_open], 0);
	assert_int_equal(book->header->ended_tickets, 1);
}

static void it_ends_with_the_last_of_its_descriptors(void **state)
{
	struct tws_conn conn;
	struct tws_end end;
	int fd = open_connection(&conn), other = dup(fd);

	(void)state;
	tws_conn_copied(fd, other, NULL);
	end_connection(fd, &end);
	assert_false(end.ends);
	assert_int_equal(counted(TWS_ended_local_fin), 0);
	end_connection(other, &end);
	assert_true(end.ends);
	assert_int_equal(counted(TWS_ended_local_fin), 1);
}

static void a_number_that_comes_up_again_is_an_end_that_nobody_saw(void **state)
{
	struct tws_conn conn;
	struct tws_end end;
	int fd = open_connection(&conn);

	(void)state;
	close(fd); /* behind the shim's back */
	assert_int_equal(socket(AF_INET, SOCK_STREAM, 0), fd);
	assert_false(tws_conn_look(fd, TWS_VIA_CLOSE, &end));
	assert_int_equal(counted(TWS_ended_unseen), 1);
	assert_int_equal(tws_fd(fd), 0);
	close(fd);
}

static void a_failed_connect_leaves_the_socket_ready_for_another(void **state)
{
	struct tws_conn conn;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	tws_fd_set(fd, TWS_FD_SOCKET);
	assert_true(tws_conn_claim(fd, 0, 0, book, &conn));
	assert_true(tws_conn_move(&conn, TWS_CONN_CLAIMED, TWS_CONN_CONNECTING));
	tws_conn_count(&conn, TWS_attempts, 1);
	tws_conn_fail(&conn, ECONNREFUSED);
	assert_int_equal(tws_conn_state(conn.slot), TWS_CONN_CLAIMED);
	assert_int_equal(counted(TWS_failed_refused), 1);
	tws_conn_fail(&conn, ECONNREFUSED); /* once only */
	assert_int_equal(counted(TWS_failed_refused), 1);
	tws_conn_free(&conn);
	close(fd);
}

static void a_full_table_is_counted_as_unobserved(void **state)
{
	struct tws_conn conn[2], late;
	int fd[2], third = socket(AF_INET, SOCK_STREAM, 0);
	struct tws_end end;

	(void)state;
	for (int i = 0; i < 2; i++)
		fd[i] = open_connection(&conn[i]);
	tws_fd_set(third, TWS_FD_SOCKET);
	assert_false(tws_conn_claim(third, 0, 0, book, &late));
	assert_int_equal(counted(TWS_unobserved), 1);
	end_connection(fd[0], &end);
	assert_true(tws_conn_claim(third, 0, 0, book, &late));
	tws_conn_free(&late);
	end_connection(fd[1], &end);
	close(third);
}

static void a_shared_connection_is_left_to_its_other_holders(void **state)
{
	struct tws_conn conn;
	struct tws_end end;
	int fd = open_connection(&conn), held = dup(fd);

	(void)state;
	tws_conn_share_all();
	end_connection(fd, &end); /* `held` stands for a child's descriptor */
	assert_true(end.shared);
	tws_conn_settle(&end);
	assert_int_equal(tws_conn_state(conn.slot), TWS_CONN_OPEN);
	assert_true(conn.slot->flags & TWS_CONN_LEFT);
	tws_conn_sweep(book);
	assert_int_equal(counted(TWS_ended_local_fin), 0);
	close(held);
	tws_conn_sweep(book);
	assert_int_equal(tws_conn_state(conn.slot), TWS_CONN_FREE);
	assert_int_equal(counted(TWS_ended_local_fin), 1);
}

#define WITH_BOOK(test) cmocka_unit_test_setup_teardown(test, new_book, drop_book)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_BOOK(a_connection_is_counted_from_its_attempt_to_its_end),
	    WITH_BOOK(it_ends_with_the_last_of_its_descriptors),
	    WITH_BOOK(a_number_that_comes_up_again_is_an_end_that_nobody_saw),
	    WITH_BOOK(a_failed_connect_leaves_the_socket_ready_for_another),
	    WITH_BOOK(a_full_table_is_counted_as_unobserved),
	    WITH_BOOK(a_shared_connection_is_left_to_its_other_holders),
	};

	return cmocka_run_group_tests(tests, listen_on_loopback, remove_directory);
}
