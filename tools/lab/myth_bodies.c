/* SPDX-License-Identifier: MIT
 *
 * Trials that need more than a client and a server.
 */
#include "tools/lab/myths.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/kernel/host.h"
#include "tools/kernel/kernel.h"

#define LEFT_BEHIND 200
#define LINE	    512

static int listen_on(unsigned port, bool reuse)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = reuse;

	inet_pton(AF_INET, LAB_ADDRESS, &at.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd >= 0 && bind(fd, (void *)&at, sizeof(at)) == 0 && listen(fd, 256) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -errno;
}

/* Connects to a listener and accepts. Returns the client's port, or -errno. */
static int make_pair(int listener, int *ret_client, int *ret_server)
{
	struct sockaddr_in at = {0};
	socklen_t length = sizeof(at);

	*ret_client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (getsockname(listener, (void *)&at, &length) != 0 ||
	    connect(*ret_client, (void *)&at, sizeof(at)) != 0)
		return -errno;
	*ret_server = accept(listener, NULL, NULL);
	if (*ret_server < 0 || getsockname(*ret_client, (void *)&at, &length) != 0)
		return -errno;
	return ntohs(at.sin_port);
}

/* Makes a TIME_WAIT socket on the listener's side or on the client's. Returns the
 * client's port, or -errno. */
static int leave_behind(int listener, bool server_first)
{
	int client = -1, server = -1, ret = make_pair(listener, &client, &server);
	char byte;

	if (ret < 0)
		return ret;
	close(server_first ? server : client);
	while (read(server_first ? client : server, &byte, 1) > 0)
		;
	close(server_first ? client : server);
	return ret;
}

static uint64_t count_time_wait(unsigned local_port)
{
	struct kernel_table table = {0};
	char error[LAB_REASON];
	uint64_t ret = 0;

	kernel_table_read(&table, KERNEL_STATE(TCP_TIME_WAIT), error, sizeof(error));
	for (size_t i = 0; i < table.count; i++)
		ret += table.sockets[i].local.port == local_port;
	kernel_table_free(&table);
	return ret;
}

int myth_accept(const struct lab_case *what, struct lab_board *board)
{
	int listener = listen_on(LAB_PORT, true), port = 0;

	if (listener < 0)
		return listener;
	for (int i = 0; i < LEFT_BEHIND && port >= 0; i++)
		port = leave_behind(listener, true);
	board->figure[0] = count_time_wait(LAB_PORT);
	for (int i = 0; i < LEFT_BEHIND && port >= 0; i++) {
		port = leave_behind(listener, true);
		board->figure[1] += port >= 0;
	}
	return port < 0 ? port : 0;
}

int myth_restart(const struct lab_case *what, struct lab_board *board)
{
	for (unsigned combination = 0; combination < 4; combination++) {
		unsigned port = LAB_PORT + combination;
		int old = listen_on(port, combination & 2), new;
		int result = old < 0 ? old : leave_behind(old, true);

		if (result < 0)
			return result;
		close(old);
		new = listen_on(port, combination & 1);
		if (new >= 0)
			board->figure[0] |= 1u << combination;
		if (new >= 0)
			close(new);
	}
	return 0;
}

/* The number after the last colon of a word; 0 if there is none. */
static uint64_t port_of(const char *word)
{
	const char *colon = word ? strrchr(word, ':') : NULL;

	return strtoull(colon ? colon + 1 : word ? word : "", NULL, 10);
}

int myth_ss(const struct lab_case *what, struct lab_board *board)
{
	int listener = listen_on(LAB_PORT, true);
	int port = listener < 0 ? listener : leave_behind(listener, false);
	char line[LINE], *rest, *word;
	FILE *ss;

	if (port < 0)
		return port;
	board->figure[0] = (uint64_t)port;
	ss = popen("ss -ant 2>/dev/null", "re");
	while (ss && fgets(line, sizeof(line), ss)) {
		if (strncmp(line, "TIME-WAIT", 9) != 0)
			continue;
		board->figure[3] = 1;
		word = strtok_r(line, " \n", &rest);
		for (unsigned column = 1; word && column <= 4; column++) {
			if (column == 3)
				board->figure[1] = port_of(word);
			if (column == 4)
				board->figure[2] = port_of(word);
			word = strtok_r(NULL, " \n", &rest);
		}
	}
	if (ss)
		pclose(ss);
	return 0;
}

int myth_sysctl(const struct lab_case *what, struct lab_board *board)
{
	char path[128], value[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", what->name);
	file = fopen(path, "re");
	if (!file)
		return 0;
	board->figure[1] = fgets(value, sizeof(value), file) != NULL;
	board->figure[0] = strtoull(value, NULL, 10);
	fclose(file);
	return 0;
}

int myth_memory(const struct lab_case *what, struct lab_board *board)
{
	struct host host;

	host_read(&host, NULL);
	board->figure[0] = host_get(&host, HOST_time_wait_bytes);
	board->figure[1] = host_knows(&host, HOST_time_wait_bytes);
	return 0;
}
