/* SPDX-License-Identifier: MIT
 *
 * Becomes another user in one of several ways, over and over, and opens a connection as
 * that user and one as root in each round:
 *
 *   users ADDRESS PORT UID WAY ROUNDS
 *
 * It prints "holding" while a connection of each kind is open, waits for a line of input,
 * closes both and prints "survived ROUNDS".
 */
#include <arpa/inet.h>
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/shared/sys.h"

static struct sockaddr_in server;
static uid_t user;

static int open_connection(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char byte = 'x';

	if (fd < 0 || connect(fd, (void *)&server, sizeof(server)) != 0 ||
	    send(fd, &byte, 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1)
		err(1, "connection");
	return fd;
}

/* All permitted capabilities become effective again, as PR_SET_KEEPCAPS left them. */
static void raise_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	syscall(SYS_capget, &header, data);
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted;
	syscall(SYS_capset, &header, data);
}

static void become(const char *way)
{
	int result = 0;

	if (!strcmp(way, "seteuid"))
		result = seteuid(user);
	else if (!strcmp(way, "setreuid"))
		result = setreuid(user, -1);
	else if (!strcmp(way, "setresuid"))
		result = setresuid(user, user, 0);
	else if (!strcmp(way, "setfsuid"))
		setfsuid(user);
	else if (!strcmp(way, "syscall"))
		result = (int)syscall(SYS_setresuid, user, user, 0);
	else if (!strcmp(way, "raw"))
		result = (int)tws_sys3(SYS_setresuid, user, user, 0);
	else if (!strcmp(way, "keepcaps")) {
		prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
		result = setresuid(user, user, user);
		raise_capabilities();
	}
	if (result)
		err(1, "%s", way);
}

static void come_back(const char *way)
{
	int result = 0;

	if (!strcmp(way, "setfsuid"))
		setfsuid(0);
	else if (!strcmp(way, "syscall"))
		result = (int)syscall(SYS_setresuid, 0, 0, 0);
	else if (!strcmp(way, "raw"))
		result = (int)tws_sys3(SYS_setresuid, 0, 0, 0);
	else
		result = setresuid(0, 0, 0);
	if (result)
		err(1, "back from %s", way);
}

/* Only this thread is the user from here on. */
static void *connect_as_user(void *ret_fd)
{
	if (tws_sys3(SYS_setresuid, user, user, user) != 0)
		err(1, "setresuid in a thread");
	*(int *)ret_fd = open_connection();
	return NULL;
}

static int in_thread(void)
{
	pthread_t thread;
	int fd = -1;

	if (pthread_create(&thread, NULL, connect_as_user, &fd) != 0)
		err(1, "pthread_create");
	pthread_join(thread, NULL);
	return fd;
}

static int as_user(const char *way)
{
	int fd;

	if (!strcmp(way, "thread"))
		return in_thread();
	become(way);
	fd = open_connection();
	come_back(way);
	return fd;
}

int main(int argc, char **argv)
{
	int rounds = argc == 6 ? atoi(argv[5]) : 0;

	server.sin_family = AF_INET;
	server.sin_port = htons((uint16_t)atoi(argc == 6 ? argv[2] : "0"));
	if (argc != 6 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		errx(2, "users ADDRESS PORT UID WAY ROUNDS");
	user = (uid_t)strtoul(argv[3], NULL, 10);
	for (int i = 0; i < rounds; i++) {
		int one = as_user(argv[4]), other = open_connection();

		if (i == rounds - 1) {
			puts("holding");
			fflush(stdout);
			getchar();
		}
		close(one);
		close(other);
	}
	printf("survived %d\n", rounds);
	return 0;
}
