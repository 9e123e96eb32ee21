/* SPDX-License-Identifier: MIT
 *
 * A preload that does nothing but count: the least that any wrapper costs. The bench
 * times it beside the shim.
 */
#include <dlfcn.h>
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
