/* SPDX-License-Identifier: MIT
 *
 * Runs cases, several at once if their timing allows it, each in a process of its own
 * with its board in shared memory. Shows progress, and cleans up also when it is
 * interrupted.
 */
#include "tools/lab/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>

#include "shim/shared/clock.h"
#include "tools/launch/library.h"

#define DESCRIPTORS 8 /* that nftw() may use */
#define PARALLEL    16
#define TICK_MS	    5

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	interrupted = signal;
}

/* ------------------------------------------------------------------ the bench */

static bool is_tmpfs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* The shim publishes on tmpfs only. */
static int make_directory(struct lab_bench *bench)
{
	const char *places[] = {"/dev/shm", getenv("XDG_RUNTIME_DIR"), "/run", "/tmp"};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		if (!places[i] || !is_tmpfs(places[i]))
			continue;
		if ((size_t)snprintf(bench->directory, sizeof(bench->directory),
				     "%s/twshim-lab-XXXXXX",
				     places[i]) >= sizeof(bench->directory))
			continue;
		if (mkdtemp(bench->directory))
			return 0;
	}
	return -ENOENT;
}

int lab_bench_open(struct lab_bench *ret_bench, char *ret_error, size_t size)
{
	struct sigaction action = {.sa_handler = interrupt};
	int result =
	    library_find(ret_bench->library, sizeof(ret_bench->library), ret_error, size);

	if (result != 0)
		return result;
	result = make_directory(ret_bench);
	if (result != 0)
		snprintf(ret_error, size, "no tmpfs that we may write to");
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	return result;
}

static int remove_entry(const char *path, const struct stat *st, int type,
			struct FTW *place)
{
	remove(path);
	return 0;
}

void lab_remove_directory(const char *path)
{
	nftw(path, remove_entry, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
}

void lab_bench_close(struct lab_bench *bench)
{
	char path[sizeof(bench->directory) + 16];

	for (unsigned i = 0; i < bench->cases_run; i++) {
		snprintf(path, sizeof(path), "%s/%u", bench->directory, i);
		if (access(path, F_OK) == 0)
			lab_remove_directory(path);
	}
	rmdir(bench->directory);
}

/* ------------------------------------------------------------------ the cases */

struct running {
	pid_t pid; /* 0: free */
	size_t index;
};

static size_t board_size(const struct lab_case *one)
{
	return sizeof(struct lab_board) +
	       one->client.count * sizeof(struct lab_connection);
}

/* Makes an empty board. Returns its descriptor, or -errno. */
static int make_board(struct lab_case *one)
{
	size_t size = board_size(one);
	int fd = memfd_create("twshim-lab", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
		return -errno;
	one->board = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (one->board == MAP_FAILED) {
		one->board = NULL;
		return -ENOMEM;
	}
	one->board->client = one->client;
	one->board->port = LAB_PORT;
	for (unsigned i = 0; i < one->client.count; i++)
		one->board->connection[i].error = -1;
	return fd;
}

/* The process of a case has none of our signal handlers: it ends when it is told to. */
static pid_t start(struct lab_bench *bench, struct lab_case *one, int fd)
{
	unsigned number = bench->cases_run++;
	pid_t pid = lab_fork();

	if (pid != 0)
		return pid;
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	lab_case_perform(bench, one, one->board, fd, number);
	_exit(0);
}

static int start_case(struct lab_bench *bench, struct lab_case *one, pid_t *ret_pid)
{
	int fd = make_board(one);

	if (fd < 0)
		return fd;
	*ret_pid = start(bench, one, fd);
	close(fd);
	return *ret_pid < 0 ? -errno : 0;
}

static void show(const struct lab_bench *bench, const char *title, size_t done,
		 size_t count, uint64_t start_ns)
{
	if (bench->progress)
		fprintf(stderr, "\r  lab %s: %zu of %zu cases, %.0f s ", title, done,
			count, (double)(tws_now() - start_ns) / 1e9);
}

static void wipe(const struct lab_bench *bench)
{
	if (bench->progress)
		fputs("\r\033[K", stderr);
}

/* Collects the cases that have ended since the last look. */
static size_t reap(struct running *running, unsigned parallel, struct lab_case *cases)
{
	size_t ret = 0;
	int status;

	for (unsigned i = 0; i < parallel; i++) {
		if (!running[i].pid || waitpid(running[i].pid, &status, WNOHANG) == 0)
			continue;
		if (status != 0 && !*cases[running[i].index].board->failure)
			snprintf(cases[running[i].index].board->failure, LAB_REASON,
				 "its process died");
		running[i].pid = 0;
		ret++;
	}
	return ret;
}

/* Ends the cases that still run after an interruption or a failure. */
static void end_all(struct running *running, unsigned parallel, struct lab_case *cases)
{
	for (unsigned i = 0; i < parallel; i++) {
		if (running[i].pid <= 0)
			continue;
		lab_end_child(&running[i].pid);
		snprintf(cases[running[i].index].board->failure, LAB_REASON,
			 "interrupted");
	}
}

/* Starts cases in the free places. Returns 0 or -errno. */
static int start_cases(struct lab_bench *bench, struct lab_case *cases, size_t count,
		       size_t *next, struct running *running, unsigned parallel)
{
	for (unsigned i = 0; i < parallel && *next < count; i++) {
		int result;

		if (running[i].pid)
			continue;
		result = start_case(bench, &cases[*next], &running[i].pid);
		if (result != 0) {
			running[i].pid = 0;
			return result;
		}
		running[i].index = (*next)++;
	}
	return 0;
}

int lab_run(struct lab_bench *bench, struct lab_case *cases, size_t count,
	    unsigned parallel, const char *title)
{
	struct running running[PARALLEL] = {0};
	uint64_t start_ns = tws_now(), shown_ns = 0;
	size_t next = 0, done = 0;
	int result = 0;

	if (parallel > PARALLEL)
		parallel = PARALLEL;
	while (result == 0 && done < count && !interrupted) {
		result = start_cases(bench, cases, count, &next, running, parallel);
		done += reap(running, parallel, cases);
		if (tws_now() - shown_ns > 200000000) {
			shown_ns = tws_now();
			show(bench, title, done, count, start_ns);
		}
		if (done < count)
			lab_sleep_ms(TICK_MS);
	}
	end_all(running, parallel, cases);
	bench->interrupted = interrupted;
	wipe(bench);
	return result;
}

void lab_cases_free(struct lab_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (cases[i].board)
			munmap(cases[i].board, board_size(&cases[i]));
}
