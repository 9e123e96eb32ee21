/* SPDX-License-Identifier: MIT
 *
 * Opens and closes connections whenever code of a program can run: before the
 * constructors of its libraries, in its own constructor, in main, at exit, after main's
 * destructors. The same source makes a program (with -DNO_PREINIT, one that begins later)
 * and, with -DLIBRARY, a library whose constructor does the same. It also defines
 * functions with the names of functions in libconfig and next to our wrappers, which
 * nobody else may call.
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
	if (close(fd) != 0 || close(fd) == 0) /* the second time it does not exist */
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

/* Only called if a library was loaded into this process by mistake. */
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
	/* Two more connections at exit: atexit's and the destructor's. */
	printf("%d\n", made + 2);
	return 0;
}

#endif
