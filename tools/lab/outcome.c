/* SPDX-License-Identifier: MIT
 *
 * What the kernel says when a case is over: TIME_WAIT on both sides, and what was
 * retransmitted.
 */
#include "tools/lab/lab.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/shared/clock.h"
#include "tools/kernel/kernel.h"

#define NETSTAT_LINE 16384
#define UNACKNOWLEDGED                                                                   \
	(KERNEL_STATE(TCP_FIN_WAIT1) | KERNEL_STATE(TCP_CLOSING) |                       \
	 KERNEL_STATE(TCP_LAST_ACK))

static bool is_server_port(uint16_t port)
{
	return port >= LAB_PORT && port < LAB_PORT + LAB_PORTS;
}

static void count_socket(struct lab_board *board, const struct kernel_socket *socket)
{
	bool ours = is_server_port(socket->remote.port);

	if (!ours && !is_server_port(socket->local.port))
		return;
	if (socket->state == TCP_TIME_WAIT) {
		*(ours ? &board->time_wait.here : &board->time_wait.there) += 1;
		if (ours && socket->expires_ms > board->time_wait.leaves_ms)
			board->time_wait.leaves_ms = socket->expires_ms;
	} else if (ours && socket->inode == 0 && socket->state != TCP_SYN_SENT) {
		board->time_wait.still_closing++;
	}
}

static void count_once(struct lab_board *board)
{
	struct kernel_table table = {0};
	char error[LAB_REASON];

	memset(&board->time_wait, 0, sizeof(board->time_wait));
	if (kernel_table_read(&table, KERNEL_STATES_ALL & ~KERNEL_STATE(TCP_LISTEN),
			      error, sizeof(error)) != 0)
		snprintf(board->failure, sizeof(board->failure), "%s", error);
	for (size_t i = 0; i < table.count; i++)
		count_socket(board, &table.sockets[i]);
	kernel_table_free(&table);
}

void lab_count_time_wait(struct lab_board *board, unsigned patience_ms)
{
	uint64_t until = tws_now() + patience_ms * 1000000ull;

	count_once(board);
	while (board->time_wait.still_closing && tws_now() < until) {
		lab_sleep_ms(10);
		count_once(board);
	}
}

static size_t count_states(struct lab_board *board, uint32_t states)
{
	struct kernel_table table = {0};
	char error[LAB_REASON];
	size_t ret = 0;

	if (kernel_table_read(&table, states, error, sizeof(error)) != 0)
		snprintf(board->failure, sizeof(board->failure), "%s", error);
	for (size_t i = 0; i < table.count; i++)
		ret += is_server_port(table.sockets[i].remote.port);
	kernel_table_free(&table);
	return ret;
}

static void await_none(struct lab_board *board, uint32_t states, unsigned patience_ms)
{
	uint64_t until = tws_now() + patience_ms * 1000000ull;

	while (count_states(board, states) && tws_now() < until)
		lab_sleep_ms(1);
}

void lab_await_fins(struct lab_board *board, unsigned patience_ms)
{
	await_none(board, UNACKNOWLEDGED, patience_ms);
}

void lab_await_closed(struct lab_board *board, unsigned patience_ms)
{
	await_none(board, UNACKNOWLEDGED | KERNEL_STATE(TCP_FIN_WAIT2), patience_ms);
}

/* The file has pairs of lines: names, then values. */
uint64_t lab_netstat(const char *name)
{
	static char names[NETSTAT_LINE], values[NETSTAT_LINE];
	FILE *file = fopen("/proc/net/netstat", "re");
	char *at_name, *at_value, *next_name, *next_value;
	uint64_t ret = 0;

	while (file && fgets(names, sizeof(names), file) &&
	       fgets(values, sizeof(values), file)) {
		at_name = strtok_r(names, " \n", &next_name);
		at_value = strtok_r(values, " \n", &next_value);
		while (at_name && at_value) {
			if (strcmp(at_name, name) == 0)
				ret = strtoull(at_value, NULL, 10);
			at_name = strtok_r(NULL, " \n", &next_name);
			at_value = strtok_r(NULL, " \n", &next_value);
		}
	}
	if (file)
		fclose(file);
	return ret;
}
