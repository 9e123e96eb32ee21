/* SPDX-License-Identifier: MIT
 *
 * Times connect-request-reply-close cycles of several variants inside one process, so
 * that differences between processes (memory, scheduling, other tenants of the machine)
 * affect all variants equally. In each round every variant does one short batch, in
 * random order. A variant is a library whose socket(), connect() and close() are called
 * instead of libc's: a copy of the shim for each, because each has its own run-time
 * directory.
 *
 * paired ADDRESS ROUNDS BATCH THREADS [LIBRARY DIRECTORY]...
 *
 * Prints one line per round: nanoseconds per cycle of the bare client and of each
 * variant.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/progs/parent.h"

#define LISTENERS 32 /* enough destinations that none runs out of ports */
#define VARIANTS  32
#define THREADS	  64

struct variant {
	int (*socket)(int domain, int type, int protocol);
	int (*connect)(int fd, const struct sockaddr *address, socklen_t length);
	int (*close)(int fd);
};

static struct sockaddr_in server[LISTENERS];
static int listener[LISTENERS];
static struct variant variant[VARIANTS];
static int variants, batch, threads;

/* The current work of the threads. */
static const struct variant *current;
static pthread_barrier_t begin, end;

static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

/* ------------------------------------------------------------------- server */

static void *serve(void *at)
{
	int fd, from = *(int *)at;
	char byte;

	for (;;) {
		fd = accept(from, NULL, NULL);
		if (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) != 1)
			fail("paired: reply");
		while (read(fd, &byte, 1) > 0)
			; /* the client closes first */
		close(fd);
	}
	return NULL;
}

static void listen_on(const char *address, int i)
{
	socklen_t length = sizeof(server[i]);

	listener[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	server[i].sin_family = AF_INET;
	if (inet_pton(AF_INET, address, &server[i].sin_addr) != 1 ||
	    bind(listener[i], (void *)&server[i], sizeof(server[i])) != 0 ||
	    listen(listener[i], 4096) != 0 ||
	    getsockname(listener[i], (void *)&server[i], &length) != 0)
		fail("paired: listen");
}

static pid_t start_servers(const char *address)
{
	pid_t parent = getpid(), child;
	pthread_t thread;

	for (int i = 0; i < LISTENERS; i++)
		listen_on(address, i);
	child = fork();
	if (child != 0)
		return child;
	die_with(parent);
	for (int i = 0; i < LISTENERS; i++)
		if (pthread_create(&thread, NULL, serve, &listener[i]) != 0)
			fail("paired: thread");
	for (;;)
		pause();
}

/* ------------------------------------------------------------------- client */

static void load(const char *library, const char *directory, struct variant *ret)
{
	void *handle;

	setenv("TWSHIM_DIR", directory, 1);
	handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		fprintf(stderr, "paired: %s\n", dlerror());
		_exit(1);
	}
	*(void **)&ret->socket = dlsym(handle, "socket");
	*(void **)&ret->connect = dlsym(handle, "connect");
	*(void **)&ret->close = dlsym(handle, "close");
}

static void cycle(const struct variant *with, const struct sockaddr_in *to)
{
	int fd = with->socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte = 'x';

	if (with->connect(fd, (const void *)to, sizeof(*to)) != 0 ||
	    write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		fail("paired: cycle");
	with->close(fd);
}

static void *work(void *number)
{
	int next = (int)(long)number;

	for (;;) {
		pthread_barrier_wait(&begin);
		for (int i = 0; i < batch; i++)
			cycle(current, &server[next]);
		next = (next + threads) % LISTENERS;
		pthread_barrier_wait(&end);
	}
	return NULL;
}

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

/* Nanoseconds per cycle of one batch. One thread means this one, without a barrier. */
static double time_batch(const struct variant *with, int to)
{
	double start;

	current = with;
	if (threads > 1)
		pthread_barrier_wait(&begin);
	start = now();
	if (threads > 1)
		pthread_barrier_wait(&end);
	for (int i = 0; threads == 1 && i < batch; i++)
		cycle(with, &server[to]);
	return (now() - start) / batch / threads;
}

static void run_round(int number, double *ret_times)
{
	int order[VARIANTS];

	for (int i = 0; i < variants; i++) {
		int j = (int)(random() % (i + 1));

		order[i] = order[j];
		order[j] = i;
	}
	for (int i = 0; i < variants; i++)
		ret_times[order[i]] = time_batch(&variant[order[i]], number % LISTENERS);
}

int main(int argc, char **argv)
{
	double times[VARIANTS];
	pthread_t thread;
	pid_t child;

	if (argc < 5 || argc % 2 == 0 || argc > 5 + 2 * (VARIANTS - 1) ||
	    atoi(argv[4]) > THREADS)
		return 2;
	batch = atoi(argv[3]);
	threads = atoi(argv[4]);
	child = start_servers(argv[1]);
	variant[variants++] = (struct variant){socket, connect, close};
	for (int i = 5; i < argc; i += 2)
		load(argv[i], argv[i + 1], &variant[variants++]);
	pthread_barrier_init(&begin, NULL, (unsigned)threads + 1);
	pthread_barrier_init(&end, NULL, (unsigned)threads + 1);
	for (long i = 0; threads > 1 && i < threads; i++)
		if (pthread_create(&thread, NULL, work, (void *)i) != 0)
			fail("paired: thread");
	for (int i = -10; i < atoi(argv[2]); i++) { /* the first ten warm up */
		run_round(i + 10, times);
		for (int v = 0; i >= 0 && v < variants; v++)
			printf("%.0f%c", times[v], v + 1 < variants ? ' ' : '\n');
	}
	fflush(stdout);
	kill(child, SIGKILL);
	_exit(0);
}
