/* SPDX-License-Identifier: MIT
 *
 * attached WAY ADDRESS PORT: waits in one way, and complains of whatever a program could
 * notice if another stops it there: a call that fails or ends early, a short write, a
 * signal or a byte that is lost, a wrong sum. Says "ready", and after SIGUSR1 makes 20
 * connections. Then says how many failed, and how many complaints there were.
 *
 * threads: all ways at once. busy: without any system call. send: in a write that the
 * peer does not take.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PIECE 300000

static volatile sig_atomic_t told, taken;
static unsigned complaints;
static bool alone = true;

static void complain(const char *what, long value)
{
	__atomic_fetch_add(&complaints, 1, __ATOMIC_RELAXED);
	fprintf(stderr, "%s: %ld, errno %d\n", what, value, errno);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* A call that a signal of the test's own ended is as it should be. */
static void expect(const char *what, long value, long wanted)
{
	if (value != wanted && !(value == -1 && errno == EINTR && told && alone))
		complain(what, value);
}

static void expect_time(const char *what, long value, long wanted, int64_t began,
			int64_t least)
{
	expect(what, value, wanted);
	if (value == wanted && now_ns() - began < least)
		complain(what, -99);
}

/* ------------------------------------------------------------------ ways to wait */

static void in_sleep(void)
{
	const struct timespec length = {.tv_nsec = 30000000};
	int64_t began = now_ns();

	expect_time("nanosleep", nanosleep(&length, NULL), 0, began, length.tv_nsec);
}

static void in_poll(void)
{
	int64_t began = now_ns();

	expect_time("poll", poll(NULL, 0, 30), 0, began, 30000000);
}

static void in_select(void)
{
	struct timeval length = {.tv_usec = 30000};
	int64_t began = now_ns();

	expect_time("select", select(0, NULL, NULL, NULL, &length), 0, began, 30000000);
}

static int ends[2], epoll, listener;

/* Somebody else writes one byte after the other. */
static void in_epoll(void)
{
	struct epoll_event got;
	char byte;

	expect("epoll_wait", epoll_wait(epoll, &got, 1, -1), 1);
	if (!alone)
		expect("read", read(ends[0], &byte, 1), 1);
}

static void in_read(void)
{
	char byte;

	expect("read", read(ends[0], &byte, 1), 1);
}

static void in_accept(void)
{
	expect("accept", accept(listener, NULL, NULL), 0);
}

static void in_suspend(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigsuspend(&none);
	if (!told)
		complain("sigsuspend", 0);
}

static void in_send(void)
{
	static char piece[PIECE];

	expect("write", write(ends[1], piece, sizeof(piece)), sizeof(piece));
}

static void in_busy(void)
{
	static volatile double sum;

	while (!told)
		sum += 1.5;
}

/* Deterministic, in registers of every kind, with a system call now and then. */
static void in_sums(void)
{
	static double wanted;
	double a = 1, b = 3, c = 7;
	uint64_t x = 88172645463325252ull;

	for (int i = 0; i < 200000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		a += (double)(x & 0xff) / b;
		b = b * 1.0000001 + 0.5;
		c -= a / (b + c * c + 1);
	}
	syscall(SYS_getppid);
	a += c + (double)(x >> 40);
	if (wanted == 0)
		wanted = a;
	else if (wanted != a)
		complain("sum", 0);
}

static const struct way {
	const char *name;
	void (*once)(void);
} WAYS[] = {{"sleep", in_sleep}, {"poll", in_poll},	  {"select", in_select},
	    {"epoll", in_epoll}, {"read", in_read},	  {"accept", in_accept},
	    {"send", in_send},	 {"suspend", in_suspend}, {"busy", in_busy},
	    {"sums", in_sums}};

/* ------------------------------------------------------------------------ threads */

static sem_t ping, pong;
static int stream[2];

static void *repeat_way(void *data)
{
	const size_t index = (size_t)data;

	while (!told) {
		WAYS[index].once();
		usleep(1000); /* others need the cores too */
	}
	return NULL;
}

static void *write_bytes(void *data)
{
	while (!told) {
		expect("write", write(ends[1], "x", 1), 1);
		usleep(500);
	}
	return NULL;
}

static void *wait_ping(void *data)
{
	while (!told) {
		if (sem_wait(&ping) != 0)
			complain("sem_wait", -1);
		sem_post(&pong);
	}
	return NULL;
}

static void *send_ping(void *data)
{
	while (!told) {
		sem_post(&ping);
		if (sem_wait(&pong) != 0)
			complain("sem_wait", -1);
		usleep(100);
	}
	return NULL;
}

/* Large writes are cut by a stop, if one comes. */
static void *write_stream(void *data)
{
	static char piece[PIECE];

	while (!told)
		expect("write", write(stream[1], piece, sizeof(piece)), sizeof(piece));
	close(stream[1]);
	return NULL;
}

static void *read_stream(void *data)
{
	char piece[5000];

	while (read(stream[0], piece, sizeof(piece)) > 0)
		usleep(100);
	return NULL;
}

static void on_counted(int signal)
{
	taken++;
}

/* Signals that queue: none may be lost. */
static void *send_signals(void *data)
{
	for (int sent = 0; !told; sent++) {
		for (int waited = 0; taken < sent; waited++) {
			if (waited > 20000)
				return complain("signal lost", sent), NULL;
			usleep(500);
		}
		sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = sent});
	}
	return NULL;
}

static void *take_signals(void *data)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, SIGRTMIN);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	while (!told)
		nanosleep(&pause, NULL);
	return NULL;
}

static void start(pthread_t *ret_thread, void *(*function)(void *), void *data)
{
	if (pthread_create(ret_thread, NULL, function, data) != 0)
		exit(77);
}

static void run_threads(void)
{
	static void *(*const more[])(void *) = {write_bytes,  wait_ping,   send_ping,
						write_stream, read_stream, send_signals,
						take_signals};
	static const size_t ways[] = {0, 1, 2, 3, 9};
	pthread_t threads[16];
	size_t count = 0;
	sigset_t both, one;

	alone = false;
	sem_init(&ping, 0, 0);
	sem_init(&pong, 0, 0);
	socketpair(AF_UNIX, SOCK_STREAM, 0, stream);
	sigemptyset(&both);
	sigaddset(&both, SIGUSR1);
	sigaddset(&both, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &both, &one);
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		start(&threads[count++], repeat_way, (void *)ways[i]);
	for (size_t i = 0; i < sizeof(more) / sizeof(*more); i++)
		start(&threads[count++], more[i], NULL);
	sigaddset(&one, SIGRTMIN);
	sigdelset(&one, SIGUSR1);
	while (!told)
		sigsuspend(&one);
	expect("write", write(ends[1], "x", 1), 1);
	sem_post(&ping);
	sem_post(&pong);
	while (count)
		pthread_join(threads[--count], NULL);
}

/* -------------------------------------------------------------------- connections */

static void on_told(int signal)
{
	told = 1;
}

static int connect_once(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), result;
	char byte = 'x';

	result = connect(fd, (const struct sockaddr *)to, sizeof(*to)) ||
		 write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1;
	close(fd);
	return result;
}

static void open_all(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct timeval long_time = {.tv_sec = 1000};

	socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
	epoll = epoll_create1(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &long_time, sizeof(long_time));
	listen(listener, 1);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_told};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)atoi(argv[3]))};
	int failed = 0;

	inet_pton(AF_INET, argv[2], &to.sin_addr);
	sigaction(SIGUSR1, &action, NULL);
	action.sa_handler = on_counted;
	sigaction(SIGRTMIN, &action, NULL);
	open_all();
	puts("ready");
	fflush(stdout);
	if (strcmp(argv[1], "threads") == 0)
		run_threads();
	for (size_t i = 0; i < sizeof(WAYS) / sizeof(*WAYS); i++)
		while (strcmp(argv[1], WAYS[i].name) == 0 && !told)
			WAYS[i].once();
	for (int i = 0; i < 20; i++)
		failed += connect_once(&to);
	printf("%d %u\n", failed, complaints);
	return 0;
}
