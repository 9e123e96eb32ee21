/* SPDX-License-Identifier: MIT
 *
 * Hands pointers that cannot be read, or only in part, to every call that the shim wraps,
 * each in a process of its own, and prints what came of it. The output must be the same
 * with and without the shim.
 */
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static struct sockaddr_in server = {.sin_family = AF_INET};
static int listener;
static char *guarded; /* two pages; the second cannot be read */
static void *bad;     /* the pointer of this round */
static struct iovec data = {"x", 1};

/* ----------------------------------------------------------------- sockets */

static int tcp(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int tcp6(void)
{
	return socket(AF_INET6, SOCK_STREAM, 0);
}

static int udp(void)
{
	return socket(AF_INET, SOCK_DGRAM, 0);
}

static int local(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

/* One that the shim has not seen made. */
static int hidden(void)
{
#ifdef __x86_64__
	long fd = SYS_socket;

	__asm__ volatile("syscall"
			 : "+a"(fd)
			 : "D"((long)AF_INET), "S"((long)SOCK_STREAM), "d"(0L)
			 : "rcx", "r11", "memory");
	return (int)fd;
#else
	return tcp();
#endif
}

static int connected(void)
{
	int fd = tcp();

	if (connect(fd, (void *)&server, sizeof(server)))
		_exit(9);
	return fd;
}

static int pair(void)
{
	int fds[2];

	return socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) ? -1 : fds[0];
}

static int refused(void)
{
	struct sockaddr_in nobody = server;
	int fd = tcp();

	nobody.sin_port = htons(1);
	if (connect(fd, (void *)&nobody, sizeof(nobody)) != -1)
		_exit(9);
	return fd;
}

static int nothing(void)
{
	return -1;
}

static int input(void)
{
	return 0;
}

static const struct {
	const char *name;
	int (*open)(void);
} sockets[] = {{"tcp", tcp},	     {"tcp6", tcp6},	 {"udp", udp},
	       {"unix", local},	     {"hidden", hidden}, {"connected", connected},
	       {"refused", refused}, {"pair", pair},	 {"-1", nothing},
	       {"stdin", input}};
#define SOCKETS (sizeof(sockets) / sizeof(sockets[0]))

/* ------------------------------------------------- calls, of each descriptor */

static long do_connect(int fd)
{
	return connect(fd, bad, sizeof(server));
}

static long do_connect_by_number(int fd)
{
	return syscall(SYS_connect, fd, bad, sizeof(server));
}

static long do_connect_long(int fd)
{
	return connect(fd, bad, sizeof(struct sockaddr_storage));
}

static long do_connect_too_long(int fd)
{
	return connect(fd, bad, 0x7fffffff);
}

static long do_connect_negative(int fd)
{
	return connect(fd, bad, (socklen_t)-1);
}

static long do_connect_short(int fd)
{
	return connect(fd, bad, 1);
}

/* The program goes on with the same descriptor. */
static long do_connect_twice(int fd)
{
	connect(fd, bad, sizeof(server));
	return connect(fd, (void *)&server, sizeof(server));
}

static long do_bind(int fd)
{
	return bind(fd, bad, sizeof(server));
}

static long do_bind_by_number(int fd)
{
	return syscall(SYS_bind, fd, bad, sizeof(server));
}

static long do_sendto(int fd)
{
	return sendto(fd, "x", 1, MSG_NOSIGNAL, bad, sizeof(server));
}

static long do_sendto_opening(int fd)
{
	return sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, bad, sizeof(server));
}

static long do_sendto_opening_data(int fd)
{
	return sendto(fd, bad, 100, MSG_FASTOPEN | MSG_NOSIGNAL, (void *)&server,
		      sizeof(server));
}

static long do_sendto_by_number(int fd)
{
	return syscall(SYS_sendto, fd, "x", 1L, MSG_FASTOPEN | MSG_NOSIGNAL, bad,
		       sizeof(server));
}

static long do_sendmsg(int fd)
{
	return sendmsg(fd, bad, MSG_NOSIGNAL);
}

static long do_sendmsg_opening(int fd)
{
	return sendmsg(fd, bad, MSG_FASTOPEN | MSG_NOSIGNAL);
}

static long do_sendmsg_by_number(int fd)
{
	return syscall(SYS_sendmsg, fd, bad, MSG_NOSIGNAL);
}

static long do_sendmsg_name(int fd)
{
	struct msghdr message = {.msg_name = bad,
				 .msg_namelen = sizeof(server),
				 .msg_iov = &data,
				 .msg_iovlen = 1};

	return sendmsg(fd, &message, MSG_FASTOPEN | MSG_NOSIGNAL);
}

static long do_sendmsg_control(int fd)
{
	struct msghdr message = {
	    .msg_control = bad, .msg_controllen = 64, .msg_iov = &data, .msg_iovlen = 1};

	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static long do_sendmmsg(int fd)
{
	return sendmmsg(fd, bad, 3, MSG_NOSIGNAL);
}

static long do_sendmmsg_opening(int fd)
{
	return sendmmsg(fd, bad, 3, MSG_FASTOPEN | MSG_NOSIGNAL);
}

/* The first header is whole, and the second cannot be read. */
static long do_sendmmsg_second(int fd)
{
	struct mmsghdr *first = (struct mmsghdr *)(void *)(guarded + PAGE) - 1;

	memset(first, 0, sizeof(*first));
	first->msg_hdr.msg_iov = &data;
	first->msg_hdr.msg_iovlen = 1;
	return sendmmsg(fd, first, 2000, MSG_NOSIGNAL);
}

static long do_recvmsg(int fd)
{
	return recvmsg(fd, bad, MSG_DONTWAIT);
}

static long do_recvmsg_by_number(int fd)
{
	return syscall(SYS_recvmsg, fd, bad, MSG_DONTWAIT);
}

static long do_linger(int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_LINGER, bad, sizeof(struct linger));
}

static long do_reuse(int fd)
{
	return syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, bad, 4);
}

static long do_low_water(int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, bad, 4);
}

static long do_bind_no_port(int fd)
{
	return setsockopt(fd, IPPROTO_IP, 24, bad, 4);
}

static long do_linger2(int fd)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_LINGER2, bad, 4);
}

static long do_error(int fd)
{
	socklen_t length = 4;

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, bad, &length);
}

static long do_error_length(int fd)
{
	int error;

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, bad);
}

/* One byte is asked for, and no more than one can be read or written. */
static long do_error_byte(int fd)
{
	socklen_t length = 1;

	return syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, guarded + PAGE - 1,
		       &length);
}

static long do_accept(int fd)
{
	(void)fd;
	return accept4(listener, bad, bad, SOCK_NONBLOCK);
}

static long do_dissolve(int fd)
{
	sa_family_t *family = (sa_family_t *)(void *)(guarded + PAGE) - 1;

	*family = AF_UNSPEC;
	return connect(fd, (void *)family, sizeof(*family));
}

static long do_exec_environment(int fd)
{
	char *argv[] = {"true", NULL};

	(void)fd;
	return execve("/bin/true", argv, bad);
}

static long do_exec_string(int fd)
{
	char *argv[] = {"true", NULL}, *envp[] = {"A=1", bad, "B=2", NULL};

	(void)fd;
	return execve("/bin/true", argv, bad ? envp : NULL);
}

static long do_exec_list(int fd)
{
	char *argv[] = {"true", NULL}, **last = (char **)(void *)(guarded + PAGE) - 1;

	(void)fd;
	*last = "A=1"; /* and no end that could be read */
	return execve("/bin/true", argv, last);
}

static long do_exec_arguments(int fd)
{
	(void)fd;
	return execve("/bin/true", bad, environ);
}

static long do_exec_nothing(int fd)
{
	char *argv[] = {"x", NULL};

	(void)fd;
	return execve("/missing/file", argv, bad);
}

static const struct {
	const char *name;
	long (*call)(int fd);
} calls[] = {
    {"connect", do_connect},
    {"connect by number", do_connect_by_number},
    {"connect, longest", do_connect_long},
    {"connect, too long", do_connect_too_long},
    {"connect, negative", do_connect_negative},
    {"connect, short", do_connect_short},
    {"connect, then a good one", do_connect_twice},
    {"bind", do_bind},
    {"bind by number", do_bind_by_number},
    {"sendto", do_sendto},
    {"sendto, opening", do_sendto_opening},
    {"sendto, opening, data", do_sendto_opening_data},
    {"sendto by number", do_sendto_by_number},
    {"sendmsg", do_sendmsg},
    {"sendmsg, opening", do_sendmsg_opening},
    {"sendmsg by number", do_sendmsg_by_number},
    {"sendmsg, name", do_sendmsg_name},
    {"sendmsg, control", do_sendmsg_control},
    {"sendmmsg", do_sendmmsg},
    {"sendmmsg, opening", do_sendmmsg_opening},
    {"sendmmsg, second", do_sendmmsg_second},
    {"recvmsg", do_recvmsg},
    {"recvmsg by number", do_recvmsg_by_number},
    {"SO_LINGER", do_linger},
    {"SO_REUSEADDR", do_reuse},
    {"SO_RCVLOWAT", do_low_water},
    {"IP_BIND_ADDRESS_NO_PORT", do_bind_no_port},
    {"TCP_LINGER2", do_linger2},
    {"SO_ERROR", do_error},
    {"SO_ERROR, length", do_error_length},
    {"SO_ERROR, a byte", do_error_byte},
    {"accept4", do_accept},
    {"AF_UNSPEC", do_dissolve},
    {"execve, environment", do_exec_environment},
    {"execve, string", do_exec_string},
    {"execve, endless list", do_exec_list},
    {"execve, arguments", do_exec_arguments},
    {"execve of nothing", do_exec_nothing},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* -------------------------------------------------------------- the rounds */

static void in_child(const char *pointer, size_t socket, size_t call)
{
	int status;
	long result;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		int fd = sockets[socket].open();

		errno = 0;
		result = calls[call].call(fd);
		printf("%s, %s, %s: %ld %s\n", calls[call].name, sockets[socket].name,
		       pointer, result, result < 0 ? strerror(errno) : "");
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status)
		printf("%s, %s, %s: status %x\n", calls[call].name, sockets[socket].name,
		       pointer, (unsigned)status);
}

/* Memory that could be read a moment ago. */
static void taken_away(void)
{
	char *page =
	    mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int result;

	memcpy(page, &server, sizeof(server));
	for (int i = 0; i < 4; i++) {
		mprotect(page, PAGE, i % 2 ? PROT_NONE : PROT_READ);
		errno = 0;
		result = connect(tcp(), (void *)page, sizeof(server));
		printf("taken away: %d %s\n", result, strerror(errno));
	}
	munmap(page, PAGE);
	errno = 0;
	result = connect(tcp(), (void *)page, sizeof(server));
	printf("taken away: %d %s\n", result, strerror(errno));
	/* To its last byte, and a byte beyond. */
	page = guarded + PAGE - sizeof(server);
	memcpy(page, &server, sizeof(server));
	printf("to the end: %d\n", connect(tcp(), (void *)page, sizeof(server)));
	result = connect(tcp(), (void *)page, sizeof(server) + 1);
	printf("a byte more: %d %s\n", result, strerror(errno));
}

int main(int argc, char **argv)
{
	socklen_t length = sizeof(server);
	struct {
		const char *name;
		void *pointer;
	} pointers[] = {
	    {"NULL", NULL},	 {"1", (void *)1},
	    {"-1", (void *)-1},	 {"the kernel's", (void *)0xffff800000000000UL},
	    {"PROT_NONE", NULL}, {"page end", NULL}};

	(void)argc;
	(void)argv;
	guarded = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(guarded + PAGE, PAGE, PROT_NONE);
	pointers[4].pointer = guarded + PAGE;
	pointers[5].pointer = guarded + PAGE - 8;
	memcpy(guarded + PAGE - 8, &server, 8);
	listener = tcp();
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (void *)&server, length) || listen(listener, 4096) ||
	    getsockname(listener, (void *)&server, &length))
		return 3;
	for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++)
		for (size_t call = 0; call < CALLS; call++)
			for (size_t socket = 0; socket < SOCKETS; socket++) {
				bad = pointers[i].pointer;
				in_child(pointers[i].name, socket, call);
			}
	taken_away();
	return 0;
}
