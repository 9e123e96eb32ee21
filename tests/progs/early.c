/* SPDX-License-Identifier: MIT
 *
 * Opens and closes connections at each time at which code of a program can run: before
 * its libraries' constructors, in its own, in main, at exit, after main's destructors.
 * The same source makes a program (with -DNO_PREINIT one that begins later), and with
 * -DLIBRARY a library whose constructor does it. It also has functions of its own by the
 * names of a configuration library and of our wrappers' neighbours, which nobody else may
 * call.
 *
 * early ADDRESS PORT        prints how many connections it made
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in server;
static int made;

static void one(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char byte = 'x';

	if (server.sin_port == 0 || fd < 0 ||
	    connect(fd, (struct sockaddr *)&server, sizeof(server)) != 0 ||
	    write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		_exit(9);
	if (close(fd) != 0 || close(fd) == 0) /* the second time it is not there */
		_exit(8);
	made++;
}

static void learn(int argc, char **argv)
{
	if (argc < 3)
		_exit(2);
	server.sin_family = AF_INET;
	server.sin_port = htons((unsigned short)atoi(argv[2]));
	if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		_exit(2);
}

__attribute__((constructor(101))) static void constructor(int argc, char **argv)
{
	learn(argc, argv);
	one();
}

__attribute__((destructor)) static void destructor(void)
{
	one();
}

#ifndef LIBRARY

#ifndef NO_PREINIT
static void preinit(int argc, char **argv, char **environment)
{
	(void)environment;
	learn(argc, argv);
	one();
}

__attribute__((section(".preinit_array"),
	       used)) static void (*const before_all)(int, char **, char **) = preinit;
#endif

/* Called by name by whoever was linked into this process by mistake. */
void config_init(void *config);
int config_lookup(void *config);
void tws_hook_close(void);
void *tws_conn_look(void);

void config_init(void *config)
{
	(void)config;
	_exit(7);
}

int config_lookup(void *config)
{
	(void)config;
	_exit(7);
}

void tws_hook_close(void)
{
	_exit(7);
}

void *tws_conn_look(void)
{
	_exit(7);
}

int main(void)
{
	if (atexit(one) != 0)
		return 1;
	one();
	/* At exit two more: atexit's and the destructor's. */
	printf("%d\n", made + 2);
	return 0;
}

#endif
