/* SPDX-License-Identifier: MIT
 *
 * A preload that only counts: the least that any wrapper costs. The bench times it beside
 * the shim. With PASS_THROUGH_COUNTS=FILE it writes to that file at exit how many calls
 * of socket(), connect() and close() it saw.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int (*next_socket)(int domain, int type, int protocol);
static int (*next_connect)(int fd, const struct sockaddr *address, socklen_t length);
static int (*next_close)(int fd);

static unsigned long sockets, connects, closes;

__attribute__((constructor)) static void find_next(void)
{
	*(void **)&next_socket = dlsym(RTLD_NEXT, "socket");
	*(void **)&next_connect = dlsym(RTLD_NEXT, "connect");
	*(void **)&next_close = dlsym(RTLD_NEXT, "close");
}

int socket(int domain, int type, int protocol)
{
	__atomic_fetch_add(&sockets, 1, __ATOMIC_RELAXED);
	return next_socket(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	__atomic_fetch_add(&connects, 1, __ATOMIC_RELAXED);
	return next_connect(fd, address, length);
}

int close(int fd)
{
	__atomic_fetch_add(&closes, 1, __ATOMIC_RELAXED);
	return next_close(fd);
}

__attribute__((destructor)) static void tell(void)
{
	const char *path = getenv("PASS_THROUGH_COUNTS");
	FILE *file = path ? fopen(path, "we") : NULL;

	if (!file)
		return;
	fprintf(file, "%lu %lu %lu\n", sockets, connects, closes);
	fclose(file);
}
