/* SPDX-License-Identifier: MIT
 *
 * A client that follows a script, one word per step, so that each way in which programs
 * open, share and drop connections is one line of a test.
 *
 * client ADDRESS PORT STEP...
 *
 * Steps work on the descriptor `c` (the connection) and up to one other, `d`:
 *   socket[:mptcp|:6] bind no-port:N no-port-syscall:N (IP_BIND_ADDRESS_NO_PORT) nonblock
 *   block connect connect? (may fail, says how)
 *   connect-poll connect-epoll connect-select connect-syscall connect-raw connect-again
 *   connect-eintr:MS (interrupted, then waited for) unspec
 *   port:N (of the server, from here on)
 *   fastopen fastopen-msg fastopen-mmsg fastopen-connect
 *   send:N recv recv:N wait-readable wait-hup
 *   linger:N reuseaddr linger2:N lowat:N so-error shutdown:wr|rd|rdwr
 *   dup dup2 dup3 fdupfd take-d (c = d) close close-d close-raw close-syscall
 *   close-range closefrom fclose[:N bytes] stream:N freopen dup2-over dup3-over cloexec
 * exec:PATH fork-close fork-hold spawn system pause-child exit:N _exit:N quick_exit abort
 * kill note:TAG (prints TAG, SO_COOKIE and the local port) sleep:MS repeat:N (all steps
 * before it, N times in all)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

extern char **environ;

/* musl lacks both. */
#ifndef __GLIBC__
static int close_range(unsigned first, unsigned last, int flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

static void closefrom(int lowest)
{
	close_range((unsigned)lowest, ~0u, 0);
}
#endif

static int c = -1, d = -1;
static pid_t child;
static union {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
} server;
static socklen_t server_length;

static void die(const char *step)
{
	fprintf(stderr, "client: %s: %s\n", step, strerror(errno));
	exit(3);
}

static void need(int good, const char *step)
{
	if (!good)
		die(step);
}

static const char *argument_of(const char *step)
{
	const char *colon = strchr(step, ':');

	return colon ? colon + 1 : "";
}

static void set_option(int level, int name, int value, const char *step)
{
	need(setsockopt(c, level, name, &value, sizeof(value)) == 0, step);
}

static void wait_events(short events, const char *step)
{
	struct pollfd pollfd = {.fd = c, .events = events};

	need(poll(&pollfd, 1, 20000) == 1, step);
}

static int is(const char *step, const char *name)
{
	size_t length = strlen(name);

	return !strncmp(step, name, length) &&
	       (step[length] == '\0' || step[length] == ':');
}

/* ------------------------------------------------------------------- opening */

static void do_socket(const char *step)
{
	const char *kind = argument_of(step);

	c = socket(server.any.sa_family, SOCK_STREAM,
		   strcmp(kind, "mptcp") ? 0 : IPPROTO_MPTCP);
	need(c >= 0, step);
}

static void do_bind(const char *step)
{
	struct sockaddr_in any = {.sin_family = AF_INET};

	need(bind(c, (struct sockaddr *)&any, sizeof(any)) == 0, step);
}

static void do_no_port(const char *step)
{
	int value = atoi(argument_of(step));

	if (is(step, "no-port"))
		set_option(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, value, step);
	else
		need(syscall(SYS_setsockopt, c, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT,
			     &value, sizeof(value)) == 0,
		     step);
}

static void wait_by_epoll(const char *step)
{
	struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	need(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, c, &event) == 0, step);
	need(epoll_wait(epoll, &event, 1, 20000) == 1, step);
	close(epoll);
}

static void wait_by_select(const char *step)
{
	struct timeval limit = {.tv_sec = 20};
	fd_set set;

	FD_ZERO(&set);
	FD_SET(c, &set);
	need(select(c + 1, NULL, &set, NULL, &limit) == 1, step);
}

/* The outcome, by SO_ERROR, as programs ask for it. */
static void ask_outcome(const char *step)
{
	int error = 0;
	socklen_t length = sizeof(error);

	need(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &length) == 0, step);
	errno = error;
	need(!error, step);
}

static void do_connect_wait(const char *step)
{
	need(connect(c, &server.any, server_length) == 0 || errno == EINPROGRESS, step);
	if (is(step, "connect-epoll"))
		wait_by_epoll(step);
	else if (is(step, "connect-select"))
		wait_by_select(step);
	else
		wait_events(POLLOUT, step);
	ask_outcome(step);
}

/* Prints how the connection ended, as the program sees it. */
static void do_connect_maybe(void)
{
	if (connect(c, &server.any, server_length) != 0 && errno != EINPROGRESS)
		printf("connect: %s\n", strerror(errno));
}

static void on_alarm(int number)
{
	(void)number;
}

static void do_connect_eintr(const char *step)
{
	struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART */
	struct itimerval timer = {.it_value.tv_usec = 1000 * atoi(argument_of(step))};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	need(connect(c, &server.any, server_length) != 0 && errno == EINTR, step);
	printf("interrupted\n");
	fflush(stdout);
	wait_events(POLLOUT, step);
	ask_outcome(step);
}

static void do_connect_raw(const char *step)
{
#if defined(__x86_64__)
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(SYS_connect), "D"((long)c), "S"(&server.any),
			   "d"((long)server_length)
			 : "rcx", "r11", "memory");
	need(ret == 0, step);
#else
	need(0, step); /* no raw system call written for this machine */
#endif
}

/* Overwrites the stack below us. */
static __attribute__((noinline)) void leave_traces(void)
{
	volatile char trace[4096];

	for (size_t i = 0; i < sizeof(trace); i++)
		trace[i] = (char)0xff;
}

static void do_connect_again(const char *step)
{
	int ret;

	leave_traces();
	ret = connect(c, &server.any, server_length);
	need(ret == 0 || errno == EISCONN || errno == EALREADY, step);
}

static void do_unspec(const char *step)
{
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};

	need(connect(c, &unspec, sizeof(unspec)) == 0, step);
}

static void do_fastopen(const char *step)
{
	struct iovec data = {"fast", 4};
	struct mmsghdr message = {.msg_hdr = {.msg_name = &server.any,
					      .msg_namelen = server_length,
					      .msg_iov = &data,
					      .msg_iovlen = 1}};
	ssize_t sent;

	if (is(step, "fastopen-msg"))
		sent = sendmsg(c, &message.msg_hdr, MSG_FASTOPEN);
	else if (is(step, "fastopen-mmsg"))
		sent = sendmmsg(c, &message, 1, MSG_FASTOPEN) == 1
			   ? (ssize_t)message.msg_len
			   : -1;
	else
		sent = sendto(c, "fast", 4, MSG_FASTOPEN, &server.any, server_length);
	need(sent == 4, step);
}

static int opening(const char *step)
{
	if (is(step, "socket"))
		do_socket(step);
	else if (is(step, "bind"))
		do_bind(step);
	else if (is(step, "no-port") || is(step, "no-port-syscall"))
		do_no_port(step);
	else if (is(step, "nonblock"))
		need(fcntl(c, F_SETFL, O_NONBLOCK) == 0, step);
	else if (is(step, "block"))
		need(fcntl(c, F_SETFL, 0) == 0, step);
	else if (is(step, "port"))
		server.in.sin_port = htons((uint16_t)atoi(argument_of(step)));
	else if (is(step, "connect"))
		need(connect(c, &server.any, server_length) == 0, step);
	else if (is(step, "connect?"))
		do_connect_maybe();
	else if (is(step, "connect-poll") || is(step, "connect-epoll") ||
		 is(step, "connect-select"))
		do_connect_wait(step);
	else if (is(step, "connect-eintr"))
		do_connect_eintr(step);
	else if (is(step, "connect-raw"))
		do_connect_raw(step);
	else if (is(step, "connect-again"))
		do_connect_again(step);
	else if (is(step, "connect-syscall"))
		need(syscall(SYS_connect, c, &server.any, server_length) == 0, step);
	else if (is(step, "unspec"))
		do_unspec(step);
	else if (is(step, "fastopen") || is(step, "fastopen-msg") ||
		 is(step, "fastopen-mmsg"))
		do_fastopen(step);
	else if (is(step, "fastopen-connect"))
		set_option(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1, step);
	else
		return 0;
	return 1;
}

/* --------------------------------------------------------------------- using */

static void do_send(const char *step)
{
	long left = atol(argument_of(step));
	static char data[65536];

	while (left > 0) {
		ssize_t sent =
		    send(c, data, (size_t)(left < 65536 ? left : 65536), MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN)
			return;
		need(sent > 0, step);
		left -= sent;
	}
}

static void do_recv(const char *step)
{
	static char data[65536];
	long left = *argument_of(step) ? atol(argument_of(step)) : 1;

	while (left > 0) {
		wait_events(POLLIN, step);
		ssize_t got = recv(c, data, (size_t)(left < 65536 ? left : 65536), 0);

		if (got <= 0)
			return;
		left -= got;
	}
}

static void do_shutdown(const char *step)
{
	const char *how = argument_of(step);

	shutdown(c, !strcmp(how, "rd")	 ? SHUT_RD
		    : !strcmp(how, "wr") ? SHUT_WR
					 : SHUT_RDWR);
}

static void do_so_error(const char *step)
{
	int error = -1;
	socklen_t length = sizeof(error);

	need(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && !error, step);
}

static void do_linger(const char *step)
{
	struct linger linger = {1, atoi(argument_of(step))};

	need(setsockopt(c, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0, step);
}

static void do_note(const char *step)
{
	unsigned long long cookie = 0;
	struct sockaddr_in6 local;
	socklen_t length = sizeof(cookie), size = sizeof(local);

	need(getsockopt(c, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0, step);
	need(getsockname(c, (struct sockaddr *)&local, &size) == 0, step);
	printf("%s %llu %d\n", argument_of(step), cookie, ntohs(local.sin6_port));
	fflush(stdout);
}

static int using(const char *step)
{
	if (is(step, "note")) {
		do_note(step);
		return 1;
	}
	if (is(step, "send"))
		do_send(step);
	else if (is(step, "recv"))
		do_recv(step);
	else if (is(step, "wait-readable"))
		wait_events(POLLIN, step);
	else if (is(step, "wait-hup"))
		wait_events(POLLRDHUP, step);
	else if (is(step, "shutdown"))
		do_shutdown(step);
	else if (is(step, "linger"))
		do_linger(step);
	else if (is(step, "reuseaddr"))
		set_option(SOL_SOCKET, SO_REUSEADDR, 1, step);
	else if (is(step, "lowat"))
		set_option(SOL_SOCKET, SO_RCVLOWAT, atoi(argument_of(step)), step);
	else if (is(step, "so-error"))
		do_so_error(step);
	else if (is(step, "linger2"))
		set_option(IPPROTO_TCP, TCP_LINGER2, atoi(argument_of(step)), step);
	else if (is(step, "sleep"))
		usleep((useconds_t)atoi(argument_of(step)) * 1000);
	else
		return 0;
	return 1;
}

/* ------------------------------------------------------------------- dropping */

static void close_raw(int fd)
{
#if defined(__x86_64__)
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(SYS_close), "D"((long)fd)
			 : "rcx", "r11", "memory");
#else
	(void)fd;      /* no raw system call written for this machine */
#endif
}

static void do_fclose(const char *step)
{
	FILE *stream = fdopen(c, "r+");

	need(stream != NULL, step);
	for (long i = 0; i < atol(argument_of(step)); i++)
		putc('f', stream);
	need(fclose(stream) == 0, step);
}

/* Left to exit() to flush. */
static void do_stream(const char *step)
{
	FILE *stream = fdopen(c, "w");

	need(stream != NULL, step);
	for (long i = 0; i < atol(argument_of(step)); i++)
		putc('s', stream);
}

static void do_freopen(const char *step)
{
	FILE *stream = fdopen(c, "r+");

	need(stream && freopen("/dev/null", "r", stream), step);
}

static void do_over(const char *step)
{
	int null = open("/dev/null", O_RDWR);

	need((is(step, "dup2-over") ? dup2(null, c) : dup3(null, c, O_CLOEXEC)) == c,
	     step);
	close(c);
	close(null);
}

static int dropping(const char *step)
{
	if (is(step, "dup"))
		need((d = dup(c)) >= 0, step);
	else if (is(step, "dup2"))
		need((d = dup2(c, 200)) == 200, step);
	else if (is(step, "dup3"))
		need((d = dup3(c, 201, O_CLOEXEC)) == 201, step);
	else if (is(step, "fdupfd"))
		need((d = fcntl(c, F_DUPFD_CLOEXEC, 100)) >= 100, step);
	else if (is(step, "take-d"))
		c = d;
	else if (is(step, "close"))
		close(c);
	else if (is(step, "close-d"))
		close(d);
	else if (is(step, "close-raw"))
		close_raw(c);
	else if (is(step, "close-syscall"))
		syscall(SYS_close, c);
	else if (is(step, "close-range"))
		close_range((unsigned)c, ~0u, 0);
	else if (is(step, "closefrom"))
		closefrom(c);
	else if (is(step, "stream"))
		do_stream(step);
	else if (is(step, "fclose"))
		do_fclose(step);
	else if (is(step, "freopen"))
		do_freopen(step);
	else if (is(step, "dup2-over") || is(step, "dup3-over"))
		do_over(step);
	else
		return 0;
	return 1;
}

/* ------------------------------------------------------------------ processes */

static void do_fork_hold(void)
{
	int gate[2];

	need(pipe(gate) == 0, "pipe");
	child = fork();
	if (child == 0) {
		char byte;

		close(gate[1]);
		if (read(gate[0], &byte, 1) < 0)
			_exit(1);
		close(c);
		_exit(0);
	}
	close(gate[0]);
	d = gate[1]; /* close-d opens the gate */
}

static void do_spawn(void)
{
	char *argv[] = {"sleep", "0.2", NULL};

	need(posix_spawnp(&child, "sleep", NULL, NULL, argv, environ) == 0, "spawn");
}

static int family(const char *step)
{
	if (is(step, "fork-close")) {
		child = fork();
		if (child == 0) {
			close(c);
			_exit(0);
		}
		waitpid(child, NULL, 0);
	} else if (is(step, "fork-hold")) {
		do_fork_hold();
	} else if (is(step, "wait-child")) {
		waitpid(child, NULL, 0);
	} else if (is(step, "vfork-close")) {
		child = vfork();
		if (child == 0) {
			close_range(3, ~0u, 0);
			_exit(0);
		}
		waitpid(child, NULL, 0);
	} else if (is(step, "spawn")) {
		do_spawn();
	} else if (is(step, "system")) {
		need(system("true") == 0, step);
	} else if (is(step, "cloexec")) {
		need(fcntl(c, F_SETFD, FD_CLOEXEC) == 0, step);
	} else {
		return 0;
	}
	return 1;
}

static int leaving(const char *step)
{
	if (is(step, "exec"))
		execl(argument_of(step), argument_of(step), (char *)NULL);
	else if (is(step, "exit"))
		exit(atoi(argument_of(step)));
	else if (is(step, "_exit"))
		_exit(atoi(argument_of(step)));
	else if (is(step, "quick_exit"))
		quick_exit(0);
	else if (is(step, "abort"))
		abort();
	else if (is(step, "segv"))
		raise(SIGSEGV);
	else if (is(step, "kill"))
		kill(getpid(), SIGKILL);
	else if (is(step, "exit-syscall"))
		syscall(SYS_exit_group, 0);
	else
		return 0;
	return 1;
}

static void run(char **steps, int count)
{
	for (int i = 0; i < count; i++) {
		if (is(steps[i], "repeat")) {
			for (int n = atoi(argument_of(steps[i])); n > 1; n--)
				run(steps, i);
		} else if (!opening(steps[i]) && !using(steps[i]) &&
			   !dropping(steps[i]) && !family(steps[i]) &&
			   !leaving(steps[i])) {
			fprintf(stderr, "client: unknown step %s\n", steps[i]);
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: client ADDRESS PORT STEP...\n");
		return 2;
	}
	if (inet_pton(AF_INET, argv[1], &server.in.sin_addr) == 1) {
		server.in.sin_family = AF_INET;
		server.in.sin_port = htons((uint16_t)atoi(argv[2]));
		server_length = sizeof(server.in);
	} else if (inet_pton(AF_INET6, argv[1], &server.in6.sin6_addr) == 1) {
		server.in6.sin6_family = AF_INET6;
		server.in6.sin6_port = htons((uint16_t)atoi(argv[2]));
		server_length = sizeof(server.in6);
	} else {
		fprintf(stderr, "client: %s: no address\n", argv[1]);
		return 2;
	}
	run(argv + 3, argc - 3);
	return 0;
}
