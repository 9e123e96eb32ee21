/* SPDX-License-Identifier: MIT
 *
 * The server of `make demo`: answers each request with HTTP/1.0, and lets the
 * client close first, as curl does after each answer. Prints its port, serves
 * until killed, until its parent ends, or until 60 seconds pass without a client.
 *
 * demo_server ADDRESS PARENT
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/progs/parent.h"

#define CLIENTS 256
#define IDLE_MS 60000

static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nhi\n";

static int listen_on(const char *address)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t length = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &at.sin_addr) != 1 ||
	    bind(fd, (void *)&at, sizeof(at)) != 0 || listen(fd, 1024) != 0 ||
	    getsockname(fd, (void *)&at, &length) != 0) {
		perror("demo_server");
		return -1;
	}
	printf("%d\n", ntohs(at.sin_port));
	fflush(stdout);
	return fd;
}

/* False: the client is gone. */
static int serve(int fd)
{
	char buffer[4096];
	ssize_t got = read(fd, buffer, sizeof(buffer));

	return got > 0 && write(fd, answer, sizeof(answer) - 1) == sizeof(answer) - 1;
}

int main(int argc, char **argv)
{
	struct pollfd fds[CLIENTS] = {{.events = POLLIN}};
	int count = 1;

	if (argc != 3)
		return 2;
	die_with(atoi(argv[2]));
	if ((fds[0].fd = listen_on(argv[1])) < 0)
		return 2;
	while (poll(fds, (nfds_t)count, IDLE_MS) > 0) {
		if (fds[0].revents && count < CLIENTS) {
			fds[count].fd = accept(fds[0].fd, NULL, NULL);
			fds[count].events = POLLIN;
			fds[count].revents = 0;
			count += fds[count].fd >= 0;
		}
		for (int i = 1; i < count; i++) {
			if (!fds[i].revents || serve(fds[i].fd))
				continue;
			close(fds[i].fd);
			fds[i--] = fds[--count];
		}
	}
	return 0;
}
