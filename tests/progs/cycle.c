/* SPDX-License-Identifier: MIT
 *
 * The cycle that the bench times: connect, request, reply, close, with an echo server in
 * a process of its own. Prints nanoseconds per cycle.
 *
 * cycle ADDRESS CYCLES THREADS
 * cycle close N                closes no descriptor N times, and prints nothing
 * cycle file N                 opens and closes a file N times
 * cycle call N                 makes the cheapest system call N times
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/progs/parent.h"

static struct sockaddr_in server;
static int cycles;

static void serve(int listener, pid_t parent)
{
	char byte;

	die_with(parent);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) != 1)
			_exit(1);
		/* The client closes first. */
		while (read(fd, &byte, 1) > 0)
			;
		close(fd);
	}
}

static void *work(void *nothing)
{
	char byte = 'x';

	for (int i = 0; i < cycles; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&server, sizeof(server)) != 0 ||
		    write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) {
			perror("cycle");
			_exit(1);
		}
		close(fd);
	}
	return nothing;
}

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static int listen_on(const char *address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(server);

	server.sin_family = AF_INET;
	if (inet_pton(AF_INET, address, &server.sin_addr) != 1 ||
	    bind(fd, (struct sockaddr *)&server, sizeof(server)) != 0 ||
	    listen(fd, 4096) != 0 ||
	    getsockname(fd, (struct sockaddr *)&server, &length) != 0) {
		perror("cycle");
		exit(2);
	}
	return fd;
}

static void open_files(int number)
{
	double start = now();

	for (int i = 0; i < number; i++)
		close(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	printf("%.0f\n", (now() - start) / number);
}

static void call(int number)
{
	double start = now();

	for (int i = 0; i < number; i++)
		syscall(SYS_getppid);
	printf("%.0f\n", (now() - start) / number);
}

int main(int argc, char **argv)
{
	pthread_t thread[64];
	int threads, listener;
	pid_t parent = getpid(), child;
	double start;

	if (argc == 3 && !strcmp(argv[1], "close")) {
		for (int i = atoi(argv[2]); i > 0; i--)
			close(900);
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "file")) {
		open_files(atoi(argv[2]));
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "call")) {
		call(atoi(argv[2]));
		return 0;
	}
	if (argc != 4)
		return 2;
	cycles = atoi(argv[2]);
	threads = atoi(argv[3]);
	listener = listen_on(argv[1]);
	child = fork();
	if (child == 0)
		serve(listener, parent);
	close(listener);
	start = now();
	for (int i = 0; i < threads && i < 64; i++)
		pthread_create(&thread[i], NULL, work, NULL);
	for (int i = 0; i < threads && i < 64; i++)
		pthread_join(thread[i], NULL);
	printf("%.0f\n", (now() - start) / cycles / threads);
	kill(child, SIGKILL);
	return 0;
}
