/* SPDX-License-Identifier: MIT
 *
 * Which processes hold connections that their peers have closed, and which side opened
 * them, in a /proc that the test makes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/model/holders.h"

#define INODE 77

static void make_link(const char *proc)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/812", proc);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/812/fd", proc);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/812/fd/3", proc);
	assert_int_equal(symlink("socket:[77]", path), 0);
}

static void remove_link(const char *proc)
{
	static const char *const below[] = {"/812/fd/3", "/812/fd", "/812", ""};
	char path[128];

	for (size_t i = 0; i < sizeof(below) / sizeof(*below); i++) {
		snprintf(path, sizeof(path), "%s%s", proc, below[i]);
		assert_int_equal(remove(path), 0);
	}
}

/* The listening port at which a connection in CLOSE_WAIT came in; 0 if it is outgoing. */
static uint16_t came_in_at(const char *proc, uint16_t local, uint16_t remote,
			   uint16_t listening)
{
	struct kernel_socket sockets[] = {
	    {.local = {.port = local, .family = TWS_IPV4},
	     .remote = {.bytes = {10, 0, 0, 7}, .port = remote, .family = TWS_IPV4},
	     .inode = INODE,
	     .state = TCP_CLOSE_WAIT},
	    {.local = {.port = listening, .family = TWS_IPV6}, .state = TCP_LISTEN},
	};
	struct model model = {.table = {.sockets = sockets, .count = 2}};
	struct holders holders;
	uint16_t port;

	assert_true(kernel_ports_set(&model.ports, 32768, 60999, ""));
	model_note_listeners(&model);
	assert_int_equal(holders_find(&holders, &model, 1, NULL, proc), 0);
	assert_int_equal(holders.count, 1);
	assert_int_equal(holders.list[0].pid, 812);
	port = holders.list[0].port;
	assert_int_equal(holders.list[0].to.port, remote);
	holders_free(&holders);
	return port;
}

static void which_way_a_connection_was_opened_is_told_by_who_listens(void **state)
{
	char proc[] = "/tmp/twshim-holders.XXXXXX";

	assert_non_null(mkdtemp(proc));
	make_link(proc);
	assert_int_equal(came_in_at(proc, 8080, 50000, 8080), 8080);
	/* a server at a port of the ephemeral range */
	assert_int_equal(came_in_at(proc, 40000, 50000, 40000), 40000);
	assert_int_equal(came_in_at(proc, 40000, 6379, 8080), 0);
	/* a port_ring outside of it */
	assert_int_equal(came_in_at(proc, 61000, 6379, 8080), 0);
	/* the listener is gone */
	assert_int_equal(came_in_at(proc, 80, 50000, 8080), 80);
	remove_link(proc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(which_way_a_connection_was_opened_is_told_by_who_listens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
