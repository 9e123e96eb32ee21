/* SPDX-License-Identifier: MIT
 *
 * Somebody else gets hold of a connection, then we close ours, and then the other one
 * sends:
 *
 * shares KIND        prints the bytes that arrived, and what read() returned then
 * shares hold FD GO  the other one, after exec: sends on FD once there is a byte on GO
 *
 * KIND is a row of the table at the end. Calls named raw_ go past every library.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/shared/sys.h"

#define SIZE	  400000
#define RING_SIZE 20000
#define LATE	  "(head -c 1 <&3; head -c 399999 /dev/zero) &" /* in a shell */

extern char **environ;

static char data[SIZE];
static int listener, c, s; /* the connection, and its other end */
static int go[2];	   /* a byte comes when c is closed */
static int pair[2];	   /* a Unix socket pair */
static int taken[2];	   /* a byte comes when the other one may take c */
static int has[2];	   /* a byte comes when it has */
static struct sockaddr_in address = {.sin_family = AF_INET};

static void need(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(3);
}

static void wait_for(int pipe)
{
	char byte;

	need(read(pipe, &byte, 1) == 1, "wait");
}

static void tell(int pipe)
{
	need(write(pipe, "", 1) == 1, "tell");
}

/* In the other process. Raw, since the library would count it. */
static void hold(int fd, int from)
{
	char byte;
	long sent = 0, ret = 1;

	tws_sys1(SYS_close, s);
	tws_sys1(SYS_close, go[1]);
	if (tws_sys3(SYS_read, from, &byte, 1) == 1)
		while (sent < SIZE && ret > 0) {
			ret = tws_sys3(SYS_write, fd, data, SIZE - sent);
			sent += ret;
		}
	tws_sys1(SYS_exit_group, 0);
}

static void connect_both(void)
{
	need(connect(c, (void *)&address, sizeof(address)) == 0, "connect");
	s = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	need(s >= 0, "accept");
}

static long raw_fork(void)
{
	return tws_sys5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* "shares hold FD GO" */
static char number[2][16];
static char *const held[] = {"shares", "hold", number[0], number[1], NULL};

static void name_held(int fd)
{
	snprintf(number[0], sizeof(number[0]), "%d", fd);
	snprintf(number[1], sizeof(number[1]), "%d", go[0]);
}

static void keep_over_exec(int fd, int keep)
{
	need(fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC) == 0, "F_SETFD");
}

static void raw_exec(void)
{
	tws_sys3(SYS_execve, "/proc/self/exe", held, environ);
	tws_sys1(SYS_exit_group, 4);
}

/* ------------------------------------------------------------------- kinds */

static void by_fork(void)
{
	connect_both();
	if (fork() == 0)
		hold(c, go[0]);
}

static void by_Fork(void)
{
	connect_both();
	if (_Fork() == 0)
		hold(c, go[0]);
}

static void by_syscall_fork(void)
{
	connect_both();
#ifdef SYS_fork
	if (syscall(SYS_fork) == 0)
#else
	if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
#endif
		hold(c, go[0]);
}

static void by_syscall_clone(void)
{
	connect_both();
	if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
		hold(c, go[0]);
}

static void by_syscall_clone3(void)
{
	struct clone_args arguments = {.exit_signal = SIGCHLD};

	connect_both();
	if (syscall(SYS_clone3, &arguments, sizeof(arguments)) == 0)
		hold(c, go[0]);
}

static void by_raw_fork(void)
{
	connect_both();
	if (raw_fork() == 0)
		hold(c, go[0]);
}

static void by_raw_clone3(void)
{
	struct clone_args arguments = {.exit_signal = SIGCHLD};

	connect_both();
	if (tws_sys2(SYS_clone3, &arguments, sizeof(arguments)) == 0)
		hold(c, go[0]);
}

static void before_connect(void)
{
	if (raw_fork() == 0) {
		wait_for(taken[0]);
		hold(c, go[0]);
	}
	connect_both();
	tell(taken[1]);
}

/* The first child is gone and was waited for; its child holds. */
static void grandchild(long (*first)(void))
{
	long pid;

	connect_both();
	pid = first();
	if (pid == 0) {
		if (raw_fork() == 0)
			hold(c, go[0]);
		tws_sys1(SYS_exit_group, 0);
	}
	need(tws_sys4(SYS_wait4, pid, 0, 0, 0) == pid, "wait4");
}

static void by_grandchild(void)
{
	grandchild(raw_fork);
}

static void by_orphan(void)
{
	signal(SIGCHLD, SIG_IGN); /* wait4() then fails once the child is gone */
	connect_both();
	if (raw_fork() == 0) {
		if (raw_fork() == 0)
			hold(c, go[0]);
		tws_sys1(SYS_exit_group, 0);
	}
	tws_sys4(SYS_wait4, -1, 0, 0, 0);
}

static void by_raw_fork_and_exec(void)
{
	connect_both();
	name_held(c);
	if (raw_fork() == 0)
		raw_exec();
}

static void by_raw_vfork(void)
{
	connect_both();
	name_held(c);
	if (tws_sys5(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) == 0)
		raw_exec();
}

/* Close-on-exec, but the child has a duplicate that is not. */
static void by_raw_vfork_and_dup(void)
{
	connect_both();
	keep_over_exec(c, 0);
	name_held(100);
	if (tws_sys5(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) == 0) {
		tws_sys3(SYS_dup3, c, 100, 0);
		raw_exec();
	}
}

/* As Python's Popen(stdout=socket): the program that got it is gone, its child is not. */
static void by_vfork_and_dup2(void)
{
	pid_t pid;

	connect_both();
	keep_over_exec(c, 0);
	pid = vfork();
	if (pid == 0) {
		dup2(c, 1);
		dup2(go[0], 3);
		execl("/bin/sh", "sh", "-c", LATE, (char *)NULL);
		_exit(4);
	}
	need(waitpid(pid, NULL, 0) == pid, "waitpid");
}

static void by_spawn_actions(void)
{
	char *const argv[] = {"sh", "-c", LATE, NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;

	connect_both();
	keep_over_exec(c, 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, c, 1);
	posix_spawn_file_actions_adddup2(&actions, go[0], 3);
	need(posix_spawn(&pid, "/bin/sh", &actions, NULL, argv, environ) == 0, "spawn");
	need(waitpid(pid, NULL, 0) == pid, "waitpid");
}

static void send_right(int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS}};
	struct iovec iovec = {"", 1};
	struct msghdr message = {.msg_iov = &iovec,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	need(tws_sys3(SYS_sendmsg, pair[0], &message, 0) == 1, "sendmsg");
}

static int receive_right(void)
{
	char byte, room[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iovec = {&byte, 1};
	struct msghdr message = {.msg_iov = &iovec,
				 .msg_iovlen = 1,
				 .msg_control = room,
				 .msg_controllen = sizeof(room)};
	int fd = -1;

	need(tws_sys3(SYS_recvmsg, pair[1], &message, 0) == 1, "recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

static void by_rights(void)
{
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	if (raw_fork() == 0) {
		tws_sys1(SYS_close, c);
		hold(receive_right(), go[0]);
	}
	connect_both();
	send_right(c);
}

/* The process that closes is the child, and has no child itself. */
static void become_child(void (*parent)(pid_t child))
{
	pid_t pid;

	need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	close(c);
	pid = fork();
	need(pid >= 0, "fork");
	if (pid)
		parent(pid);
	c = socket(AF_INET, SOCK_STREAM, 0);
	connect_both();
}

static void receive_and_hold(pid_t child)
{
	c = receive_right();
	close(pair[0]);
	close(go[1]);
	wait_for(go[0]);
	need(write(c, data, SIZE) == SIZE, "write");
	close(c);
	waitpid(child, NULL, 0);
	exit(0);
}

static void by_rights_to_the_parent(void)
{
	become_child(receive_and_hold);
	send_right(c);
}

static void by_pidfd(void)
{
	pid_t parent = getpid();

	if (raw_fork() == 0) {
		int pidfd = (int)tws_sys2(SYS_pidfd_open, parent, 0);

		tws_sys1(SYS_close, c);
		wait_for(taken[0]);
		c = (int)tws_sys3(SYS_pidfd_getfd, pidfd, c, 0);
		tws_sys3(SYS_write, has[1], "", 1);
		hold(c, go[0]);
	}
	connect_both();
	tell(taken[1]);
	wait_for(has[0]);
}

static int copy;

static void by_raw_dup(void)
{
	connect_both();
	copy = (int)tws_sys1(SYS_dup, c);
}

/* ------------------------------------------------------------------- a ring */

static int ring;
static char *ring_queue;
static struct io_uring_sqe *entries;
static struct io_uring_params ring_has;

static void by_ring(void)
{
	connect_both();
	ring = (int)tws_sys2(SYS_io_uring_setup, 4, &ring_has);
	if (ring < 0)
		exit(77);
	ring_queue = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			  ring, IORING_OFF_SQ_RING);
	entries = mmap(NULL, 4 * sizeof(*entries), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
	need(ring_queue != MAP_FAILED && entries != MAP_FAILED, "mmap");
	need(tws_sys4(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &c, 1) == 0,
	     "register");
}

/* So much at a time as the kernel takes at once. Returns what arrived. */
static ssize_t send_by_ring(void)
{
	uint32_t *tail = (uint32_t *)(void *)(ring_queue + ring_has.sq_off.tail);
	ssize_t got = 0;

	for (uint32_t i = 0; i < SIZE / RING_SIZE; i++) {
		entries[0] = (struct io_uring_sqe){.opcode = IORING_OP_SEND,
						   .flags = IOSQE_FIXED_FILE,
						   .addr = (uint64_t)(uintptr_t)data,
						   .len = RING_SIZE};
		((uint32_t *)(void *)(ring_queue + ring_has.sq_off.array))[i % 4] = 0;
		__atomic_store_n(tail, i + 1, __ATOMIC_RELEASE);
		need(tws_sys6(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0,
			      0) == 1,
		     "enter");
		got += recv(s, data, RING_SIZE, MSG_WAITALL);
		*(uint32_t *)(void *)(ring_queue + ring_has.cq_off.head) = i + 1;
	}
	tws_sys4(SYS_io_uring_register, ring, IORING_UNREGISTER_FILES, 0, 0);
	return got;
}

/* ------------------------------------------------------------------ the end */

/* What the same process sends after its close(), by what it still holds. */
static ssize_t send_ourselves(void)
{
	ssize_t got = 0;

	for (int i = 0; copy && i < SIZE / RING_SIZE; i++) {
		need(tws_sys3(SYS_write, copy, data, RING_SIZE) == RING_SIZE, "write");
		got += recv(s, data, RING_SIZE, MSG_WAITALL);
	}
	if (copy)
		tws_sys1(SYS_close, copy);
	return ring ? send_by_ring() : got;
}

static void report(ssize_t got)
{
	ssize_t ret;

	while ((ret = read(s, data, sizeof(data))) > 0)
		got += ret;
	printf("%zd, then %zd\n", got, ret);
}

static const struct {
	const char *name;
	void (*share)(void);
} kinds[] = {
    {"fork", by_fork},
    {"_Fork", by_Fork},
    {"syscall-fork", by_syscall_fork},
    {"syscall-clone", by_syscall_clone},
    {"syscall-clone3", by_syscall_clone3},
    {"raw-fork", by_raw_fork},
    {"raw-clone3", by_raw_clone3},
    {"raw-fork-before-connect", before_connect},
    {"raw-grandchild", by_grandchild},
    {"raw-orphan", by_orphan},
    {"raw-fork-exec", by_raw_fork_and_exec},
    {"raw-vfork-exec", by_raw_vfork},
    {"raw-vfork-dup-exec", by_raw_vfork_and_dup},
    {"vfork-dup2-exec", by_vfork_and_dup2},
    {"spawn-actions", by_spawn_actions},
    {"raw-rights", by_rights},
    {"raw-rights-to-parent", by_rights_to_the_parent},
    {"pidfd", by_pidfd},
    {"raw-dup", by_raw_dup},
    {"ring", by_ring},
};

static void prepare(void)
{
	socklen_t length = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	c = socket(AF_INET, SOCK_STREAM, 0);
	need(bind(listener, (void *)&address, length) == 0 && listen(listener, 5) == 0,
	     "listen");
	need(getsockname(listener, (void *)&address, &length) == 0, "getsockname");
	need(pipe(go) == 0 && pipe(taken) == 0 && pipe(has) == 0, "pipe");
	keep_over_exec(go[1], 0);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "hold")) {
		s = go[1] = -1;
		hold(atoi(argv[2]), atoi(argv[3]));
	}
	prepare();
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (argc != 2 || strcmp(argv[1], kinds[i].name))
			continue;
		kinds[i].share();
		close(c);
		tell(go[1]);
		report(send_ourselves());
		return 0;
	}
	fprintf(stderr, "shares: no such kind\n");
	return 2;
}
