/* SPDX-License-Identifier: MIT
 *
 * The experiment `timewait`: how long a TIME_WAIT socket lives under several values of
 * tcp_fin_timeout, and how long a FIN_WAIT_2 socket lives whose peer never closes. It
 * runs in real time and takes two minutes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/kernel/kernel.h"
#include "tools/lab/result.h"

#define LOOK_MS	    50
#define LIMIT_MS    140000
#define PATIENCE_MS 160000

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* The two connections of a case; close_ns of their records is how long they lived. */
enum { CLOSED_BY_BOTH, CLOSED_BY_US, CONNECTIONS };

static const struct lab_column COLUMNS[] = {
    {"fin_timeout", "tcp_fin_timeout", 0, false},
    {"time_wait_s", "TIME_WAIT LIVED s", 1, false},
    {"fin_wait_2_s", "FIN_WAIT_2 LIVED s", 1, false},
};

/* Makes a pair of connected sockets. Returns the client's port, or -errno. */
static int make_pair(int listener, int ret_pair[2])
{
	struct sockaddr_in at = {0};
	socklen_t length = sizeof(at);

	ret_pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ret_pair[0] < 0 || getsockname(listener, (void *)&at, &length) != 0 ||
	    connect(ret_pair[0], (void *)&at, sizeof(at)) != 0)
		return -errno;
	ret_pair[1] = accept(listener, NULL, NULL);
	if (ret_pair[1] < 0 || getsockname(ret_pair[0], (void *)&at, &length) != 0)
		return -errno;
	return ntohs(at.sin_port);
}

static int listen_somewhere(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(LAB_PORT)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, LAB_ADDRESS, &at.sin_addr);
	if (fd < 0 || bind(fd, (void *)&at, sizeof(at)) != 0 || listen(fd, 8) != 0)
		return -errno;
	return fd;
}

static bool is_there(const struct kernel_table *table, int port)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->sockets[i].local.port == port)
			return true;
	return false;
}

/* Records when each of the ports has left the kernel's table. */
static int watch(struct lab_board *board, const int ports[CONNECTIONS], uint64_t start_ns)
{
	uint64_t now = start_ns;
	unsigned left = CONNECTIONS;

	while (left && now - start_ns < LIMIT_MS * 1000000ull) {
		struct kernel_table table = {0};
		int result = kernel_table_read(&table, KERNEL_STATES_ALL, board->failure,
					       LAB_REASON);

		now = tws_now();
		for (unsigned i = 0; result == 0 && i < CONNECTIONS; i++) {
			struct lab_connection *record = &board->connection[i];

			if (record->error == 0 || is_there(&table, ports[i]))
				continue;
			record->error = 0;
			record->close_ns = now - start_ns;
			left--;
		}
		kernel_table_free(&table);
		if (result != 0)
			return result;
		lab_sleep_ms(LOOK_MS);
	}
	return 0;
}

static int live(const struct lab_case *what, struct lab_board *board)
{
	int pairs[CONNECTIONS][2] = {{-1, -1}, {-1, -1}}, ports[CONNECTIONS];
	int listener = listen_somewhere();

	if (listener < 0)
		return listener;
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		ports[i] = make_pair(listener, pairs[i]);
		if (ports[i] < 0)
			return ports[i];
	}
	close(pairs[CLOSED_BY_BOTH][0]);
	close(pairs[CLOSED_BY_US][0]);
	lab_sleep_ms(1);
	close(pairs[CLOSED_BY_BOTH][1]);
	return watch(board, ports, tws_now());
}

static double lived_seconds(const struct lab_case *what, unsigned which)
{
	return (double)what->board->connection[which].close_ns / 1e9;
}

static void put_seconds(json_t *row, const char *key, const struct lab_case *what,
			unsigned which)
{
	if (what->board->connection[which].error == 0)
		lab_put_real(row, key, lived_seconds(what, which));
	else
		lab_put_text(row, key, "over %d", LIMIT_MS / 1000);
}

int lab_timewait(struct lab_bench *bench, struct lab_result *result)
{
	static const char *const VALUES[] = {"5", "60", "61", "120"};
	struct lab_case cases[COUNT(VALUES)];
	struct lab_table *table;
	int ret;

	for (size_t i = 0; i < COUNT(VALUES); i++)
		cases[i] = (struct lab_case){
		    .name = VALUES[i],
		    .world = {.sysctl = {{"tcp_fin_timeout", VALUES[i]}}},
		    .client = {.count = CONNECTIONS},
		    .body = live,
		    .patience_ms = PATIENCE_MS};
	ret = lab_run(bench, cases, COUNT(cases), COUNT(cases), "timewait (two minutes)");
	table = lab_table_new(result, "", COLUMNS, COUNT(COLUMNS));
	for (size_t i = 0; ret == 0 && i < COUNT(cases); i++) {
		json_t *row;

		if (lab_say_failure(result, &cases[i]))
			continue;
		row = lab_row_new(table, cases[i].name);
		put_seconds(row, "time_wait_s", &cases[i], CLOSED_BY_BOTH);
		put_seconds(row, "fin_wait_2_s", &cases[i], CLOSED_BY_US);
	}
	if (ret == 0 && !result->failed)
		lab_say(
		    result,
		    "TIME_WAIT lived %.0f s with tcp_fin_timeout=5 and %.0f s with "
		    "120: it is a constant of the kernel. The knob is for FIN_WAIT_2.",
		    lived_seconds(&cases[0], CLOSED_BY_BOTH),
		    lived_seconds(&cases[COUNT(cases) - 1], CLOSED_BY_BOTH));
	lab_cases_free(cases, COUNT(cases));
	return ret;
}
