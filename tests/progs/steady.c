/* SPDX-License-Identifier: MIT
 *
 * Connects again and again until its standard input ends, and says how many connects
 * there were, how many failed, and how long the slowest took, in microseconds.
 *
 * steady ADDRESS PORT
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* One connection, closed by us. False: connect() failed. */
static int connect_once(const struct sockaddr_in *to, long long *slowest)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), result;
	long long began = now_us();
	char byte = 'x';

	result = connect(fd, (const struct sockaddr *)to, sizeof(*to));
	if (now_us() - began > *slowest)
		*slowest = now_us() - began;
	if (result == 0 && write(fd, &byte, 1) == 1)
		(void)!read(fd, &byte, 1);
	close(fd);
	return result == 0;
}

int main(int argc, char **argv)
{
	struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};
	const struct timespec pause = {0, 200000};
	struct sockaddr_in to = {.sin_family = AF_INET};
	long connects = 0, failed = 0;
	long long slowest = 0;

	if (argc < 3)
		return 2;
	inet_pton(AF_INET, argv[1], &to.sin_addr);
	to.sin_port = htons((unsigned short)atoi(argv[2]));
	printf("ready\n");
	fflush(stdout);
	while (poll(&end, 1, 0) == 0) {
		failed += !connect_once(&to, &slowest);
		connects++;
		nanosleep(&pause, NULL);
	}
	printf("%ld %ld %lld\n", connects, failed, slowest);
	return 0;
}
