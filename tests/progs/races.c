/* SPDX-License-Identifier: MIT
 *
 * Threads, signals and unusual children, while connections are being made. Each mode
 * prints on one line how many connections it established: the number that the shim must
 * report.
 *
 * races ADDRESS PORT MODE
 *   churn           8 threads of 500 connections
 *   same            two threads connect one descriptor at once, 2000 times
 *   reuse           threads close a number that others get at once
 *   cancel          threads cancelled at any point of connect and close
 *   handler         a signal handler closes what the interrupted connect() works on
 *   exit            another thread calls exit while connections are being made
 *   clone-files     a clone that shares memory and descriptors closes them
 *   clone-memory    a clone that shares memory and not descriptors closes them
 *   clone-fork      a clone that shares nothing closes them
 *   clone-threads   4 threads of 3,000 connections, made by clone() and not by libc
 *   io_uring        closes by io_uring
 *   hold-N          N threads, one after another, leave a connection open each
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8
#define EACH	500

static struct sockaddr_in server;
static int established; /* atomic */

static void note(void)
{
	__atomic_add_fetch(&established, 1, __ATOMIC_RELAXED);
}

static int open_one(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte = 'x';

	if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)) != 0)
		return -1;
	note();
	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		abort();
	return fd;
}

static void *churn(void *nothing)
{
	for (int i = 0; i < EACH; i++)
		close(open_one());
	return nothing;
}

static void *open_and_close_files(void *nothing)
{
	for (int i = 0; i < EACH * 4; i++) {
		int fd = dup(2);

		if (fd >= 0)
			close(fd);
	}
	return nothing;
}

static void run_threads(void *(*work)(void *), void *(*other)(void *))
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, i % 2 && other ? other : work, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

/* ---------------------------------------------------------- one descriptor */

#define TOGETHER 2000
static int arrived; /* atomic */
static int wanted;

/* The two threads meet here, spinning: a thread that is woken comes too late. If the
 * other one is held up, that may be by the kernel's own threads, which the real-time
 * priority keeps from the core. */
static void meet(int number)
{
	const struct timespec pause = {.tv_nsec = 20000};

	__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
	for (int i = 1; __atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < 2 * number; i++)
		if (i > 20000)
			nanosleep(&pause, NULL);
		else if (i % 1000 == 0)
			sched_yield();
}

/* One gets 0, the other EISCONN, or EALREADY while the first waits. */
static void connect_wanted(void)
{
	if (connect(wanted, (struct sockaddr *)&server, sizeof(server)) == 0)
		note();
}

/* On busy cores the two threads would rarely meet. Not being allowed to is harmless. */
static void hurry(void)
{
	struct sched_param first = {.sched_priority = 1};

	pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
}

static void *connect_with(void *nothing)
{
	hurry();
	for (int i = 0; i < TOGETHER; i++) {
		meet(2 * i + 1);
		connect_wanted();
		meet(2 * i + 2);
	}
	return nothing;
}

static void same(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, connect_with, NULL);
	hurry();
	for (int i = 0; i < TOGETHER; i++) {
		wanted = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		meet(2 * i + 1);
		connect_wanted();
		meet(2 * i + 2);
		close(wanted);
	}
	pthread_join(thread, NULL);
}

/* -------------------------------------------------------------- cancellation */

/* Keeps its descriptor in `*slot`, so that the main thread can close it if we did not. */
static void *cancelled(void *slot)
{
	for (;;) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		int state;

		*(int *)slot = fd;
		if (connect(fd, (struct sockaddr *)&server, sizeof(server)) != 0)
			abort();
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
		note();
		pthread_setcancelstate(state, NULL);
		/* If cancelled here, the descriptor stays open. */
		close(fd);
		*(int *)slot = -1;
	}
	return NULL;
}

static void cancel(void)
{
	unsigned seed = 7;

	for (int i = 0; i < 300; i++) {
		struct timespec pause = {0, 0};
		pthread_t thread;
		int slot = -1;

		pthread_create(&thread, NULL, cancelled, &slot);
		pause.tv_nsec = rand_r(&seed) % 400000;
		nanosleep(&pause, NULL);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
		if (slot >= 0)
			close(slot);
	}
}

/* ------------------------------------------------------------------- signals */

static volatile int in_hand = -1;

static void on_alarm(int number)
{
	int fd = in_hand;

	(void)number;
	in_hand = -1;
	if (fd >= 0)
		close(fd);
}

static void handler(void)
{
	struct sigaction action = {.sa_handler = on_alarm};
	unsigned seed = 11;

	sigaction(SIGALRM, &action, NULL);
	for (int i = 0; i < 2000; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		struct itimerspec when = {.it_value = {0, 1 + rand_r(&seed) % 120000}};
		struct sigevent event = {.sigev_notify = SIGEV_SIGNAL,
					 .sigev_signo = SIGALRM};
		timer_t timer;

		timer_create(CLOCK_MONOTONIC, &event, &timer);
		in_hand = fd;
		timer_settime(timer, 0, &when, NULL);
		connect(fd, (struct sockaddr *)&server, sizeof(server));
		while (in_hand >= 0)
			sched_yield();
		timer_delete(timer);
	}
}

/* ---------------------------------------------------------------------- exit */

static void *forever(void *nothing)
{
	for (;;) {
		int fd = open_one();

		if (fd >= 0)
			close(fd);
	}
	return nothing;
}

static void exit_meanwhile(void)
{
	struct timespec pause = {0, 30000000};
	pthread_t thread;

	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread, NULL, forever, NULL);
	nanosleep(&pause, NULL);
	exit(0);
}

/* -------------------------------------------------------------------- clones */

static int fds[50];

static int close_all(void *nothing)
{
	(void)nothing;
	for (int i = 0; i < 50; i++)
		close(fds[i]);
	return 0;
}

static void clone_with(int flags)
{
	static char stack[262144] __attribute__((aligned(16)));
	pid_t child;

	for (int i = 0; i < 50; i++)
		fds[i] = open_one();
	child = clone(close_all, stack + sizeof(stack), flags | SIGCHLD, NULL);
	if (child < 0)
		abort();
	waitpid(child, NULL, 0);
	if (!(flags & CLONE_FILES))
		close_all(NULL);
}

#define CLONES	   4
#define CLONE_EACH 3000

/* libc believes that the process has one thread, so this uses little of it. */
static int churn_alone(void *nothing)
{
	(void)nothing;
	for (int i = 0; i < CLONE_EACH; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (struct sockaddr *)&server, sizeof(server)) == 0)
			note();
		close(fd);
	}
	return 0;
}

static void clone_threads(void)
{
	static char stack[CLONES][262144] __attribute__((aligned(16)));
	static volatile int running[CLONES]; /* cleared by the kernel at the end */
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
			  CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;

	for (int i = 0; i < CLONES; i++) {
		running[i] = 1;
		if (clone(churn_alone, stack[i] + sizeof(stack[i]), flags, NULL, NULL,
			  NULL, (void *)&running[i]) < 0)
			abort();
	}
	for (int i = 0; i < CLONES; i++)
		while (running[i])
			sched_yield();
}

/* ------------------------------------------------------------------ io_uring */

static int uring_close(int fd)
{
	struct io_uring_params params = {0};
	struct io_uring_sqe *sqes;
	unsigned char *ring;
	int uring = (int)syscall(SYS_io_uring_setup, 2, &params);

	if (uring < 0)
		return -1;
	ring = mmap(NULL, params.sq_off.array + params.sq_entries * 4,
		    PROT_READ | PROT_WRITE, MAP_SHARED, uring, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, params.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE,
		    MAP_SHARED, uring, IORING_OFF_SQES);
	if (ring == MAP_FAILED || sqes == MAP_FAILED)
		return -1;
	memset(sqes, 0, sizeof(*sqes));
	sqes[0].opcode = IORING_OP_CLOSE;
	sqes[0].fd = fd;
	((unsigned *)(void *)(ring + params.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned *)(void *)(ring + params.sq_off.tail), 1,
			 __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, uring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) !=
	    1)
		return -1;
	close(uring);
	return 0;
}

static int io_uring(void)
{
	for (int i = 0; i < 20; i++)
		if (uring_close(open_one()) != 0)
			return 77;
	return 0;
}

static void *leave_open(void *nothing)
{
	if (open_one() < 0)
		abort();
	return nothing;
}

static void hold(int number)
{
	pthread_t thread;

	for (int i = 0; i < number; i++) {
		if (pthread_create(&thread, NULL, leave_open, NULL) != 0)
			abort();
		pthread_join(thread, NULL);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc == 4 ? argv[3] : "";
	int status = 0;

	server.sin_family = AF_INET;
	server.sin_port = htons((uint16_t)(argc == 4 ? atoi(argv[2]) : 0));
	if (argc != 4 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		return 2;
	if (!strcmp(mode, "churn"))
		run_threads(churn, NULL);
	else if (!strcmp(mode, "same"))
		same();
	else if (!strcmp(mode, "reuse"))
		run_threads(churn, open_and_close_files);
	else if (!strcmp(mode, "cancel"))
		cancel();
	else if (!strcmp(mode, "handler"))
		handler();
	else if (!strcmp(mode, "exit"))
		exit_meanwhile();
	else if (!strcmp(mode, "clone-files"))
		clone_with(CLONE_VM | CLONE_FILES);
	else if (!strcmp(mode, "clone-memory"))
		clone_with(CLONE_VM);
	else if (!strcmp(mode, "clone-fork"))
		clone_with(0);
	else if (!strcmp(mode, "clone-threads"))
		clone_threads();
	else if (!strncmp(mode, "hold-", 5))
		hold(atoi(mode + 5));
	else if (!strcmp(mode, "io_uring"))
		status = io_uring();
	else
		return 2;
	printf("%d\n", established);
	return status;
}
