/* SPDX-License-Identifier: MIT
 *
 * fill COUNT [ADDRESS...]: opens COUNT connections one after another, in turn to a
 * listener of its own on each ADDRESS (default 127.0.0.1), and closes each first, so that
 * COUNT TIME_WAIT sockets remain. Prints the listeners as ADDRESS:PORT, then "done". With
 * FILL_KILL set, dies of SIGKILL instead of exiting; with FILL_WAIT set, waits for the
 * end of stdin first; with FILL_PORT, listens on that port.
 */
#include <arpa/inet.h>
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

struct listener {
	int fd;
	struct sockaddr_in address;
};

static struct listener listen_on(const char *text)
{
	struct listener listener = {.fd = socket(AF_INET, SOCK_STREAM, 0),
				    .address = {.sin_family = AF_INET}};
	socklen_t length = sizeof(listener.address);
	const char *port = getenv("FILL_PORT");
	int on = 1;

	if (inet_pton(AF_INET, text, &listener.address.sin_addr) != 1)
		errx(2, "%s: no IPv4 address", text);
	listener.address.sin_port = htons((uint16_t)(port ? atoi(port) : 0));
	setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener.fd, (struct sockaddr *)&listener.address, length) != 0 ||
	    listen(listener.fd, 16) != 0 ||
	    getsockname(listener.fd, (struct sockaddr *)&listener.address, &length) != 0)
		err(1, "%s", text);
	printf("%s:%u\n", text, ntohs(listener.address.sin_port));
	return listener;
}

/* Avoids the slow search in the second half of the range, if the kernel can. */
static void connect_and_close(const struct listener *listener)
{
	int client = socket(AF_INET, SOCK_STREAM, 0), server;
	uint32_t range = 65535u << 16 | 1;
	char byte;

	setsockopt(client, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range));
	if (connect(client, (const struct sockaddr *)&listener->address,
		    sizeof(listener->address)) != 0)
		err(1, "connect");
	server = accept(listener->fd, NULL, NULL);
	close(client);
	if (read(server, &byte, 1) != 0)
		err(1, "read");
	close(server);
}

int main(int argc, char **argv)
{
	static const char *const loopback[] = {"127.0.0.1"};
	const char *const *addresses =
	    argc > 2 ? (const char *const *)argv + 2 : loopback;
	size_t listeners_count = argc > 2 ? (size_t)argc - 2 : 1;
	struct listener *listeners = calloc(listeners_count, sizeof(*listeners));
	long count = argc > 1 ? atol(argv[1]) : 0;

	for (size_t i = 0; listeners && i < listeners_count; i++)
		listeners[i] = listen_on(addresses[i]);
	fflush(stdout);
	for (long i = 0; listeners && i < count; i++)
		connect_and_close(&listeners[(size_t)i % listeners_count]);
	puts("done");
	fflush(stdout);
	while (getenv("FILL_WAIT") && getchar() != EOF)
		;
	if (getenv("FILL_KILL"))
		kill(getpid(), SIGKILL);
	free(listeners);
	return 0;
}
