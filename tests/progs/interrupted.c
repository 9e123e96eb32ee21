/* SPDX-License-Identifier: MIT
 *
 * Non-blocking connects while another thread sends signals, whose handler does not
 * restart calls, until connect() was interrupted often enough. Says how many connections
 * it made, and how often connect() was interrupted.
 *
 * interrupted ADDRESS PORT COUNT TIMES     COUNT connections at least; fifty times that
 * at most
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static volatile int over;
static pthread_t connecting;

static void on_signal(int signal)
{
}

static void *bombard(void *data)
{
	const struct timespec pause = {0, 1000};

	while (!over) {
		pthread_kill(connecting, SIGUSR1);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void wait_for(int fd, short events)
{
	struct pollfd polled = {.fd = fd, .events = events};

	while (poll(&polled, 1, -1) < 0)
		;
}

/* How often connect() was interrupted. */
static long connect_once(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	long interrupted = 0;
	char byte = 'x';

	while (connect(fd, (const struct sockaddr *)to, sizeof(*to)) != 0 &&
	       errno == EINTR)
		interrupted++;
	wait_for(fd, POLLOUT);
	while (write(fd, &byte, 1) < 0 && errno == EINTR)
		;
	wait_for(fd, POLLIN);
	while (read(fd, &byte, 1) < 0 && errno == EINTR)
		;
	close(fd);
	return interrupted;
}

int main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_signal};
	struct sockaddr_in to = {.sin_family = AF_INET};
	long interrupted = 0, made = 0, count, times;
	pthread_t thread;

	if (argc < 5)
		return 2;
	count = atol(argv[3]);
	times = atol(argv[4]);
	inet_pton(AF_INET, argv[1], &to.sin_addr);
	to.sin_port = htons((unsigned short)atoi(argv[2]));
	sigaction(SIGUSR1, &action, NULL);
	connecting = pthread_self();
	pthread_create(&thread, NULL, bombard, NULL);
	for (; made < count || (interrupted < times && made < 50 * count); made++)
		interrupted += connect_once(&to);
	over = 1;
	pthread_join(thread, NULL);
	printf("%ld %ld\n", made, interrupted);
	return 0;
}
