/* SPDX-License-Identifier: MIT
 *
 * The guest's server: echoes each byte, to one client after another, until the client
 * closes. Prints its port.
 *
 * echo ADDRESS
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void serve(int fd)
{
	char byte;

	while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
		;
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t length = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	signal(SIGPIPE, SIG_IGN);
	if (fd < 0 || argc != 2 || inet_pton(AF_INET, argv[1], &at.sin_addr) != 1 ||
	    bind(fd, (void *)&at, sizeof(at)) != 0 || listen(fd, 4096) != 0 ||
	    getsockname(fd, (void *)&at, &length) != 0) {
		perror("echo");
		return 1;
	}
	printf("%d\n", ntohs(at.sin_port));
	fflush(stdout);
	for (;;)
		serve(accept(fd, NULL, NULL));
}
