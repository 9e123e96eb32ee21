/* SPDX-License-Identifier: MIT
 *
 * Folding counts each segment once, in spite of totals that nobody can read, files that
 * cannot be removed, a lock that is deleted, and a process that is killed at any step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "shim/shared/fold.h"
#include "tests/unit/saved_directory.h"

#define DEAD_PID 0x7ffffff0u

struct place {
	char path[SAVED_PATH];
	int fd;
	struct reader reader;
	struct saved saved;
	struct tws_counters sum; /* the sum over all destinations read */
	struct tws_counters arms;
	uint64_t processes;
};

static const struct tws_fold_limits all = {.retention_s = 60, .max_segments = 1};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	assert_non_null(place);
	snprintf(place->path, sizeof(place->path), "/dev/shm/twshim-fold.XXXXXX");
	place->fd = saved_directory(place->path, &place->reader, &place->saved);
	place->saved.header.pid = DEAD_PID;
	place->saved.destinations[1].counters.value[TWS_attempts] = 1;
	place->saved.destinations[1].counters.value[TWS_established] = 1;
	place->saved.destinations[1].counters.value[TWS_ended_local_fin] = 1;
	*state = place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;

	saved_directory_remove(place->path, place->fd, &place->reader);
	free(place);
	return 0;
}

static void add(struct tws_counters *to, const struct tws_counters *from)
{
	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		to->value[i] += from->value[i];
}

static int take(struct segment *segment, void *data)
{
	struct place *place = data;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++)
		add(&place->sum, &segment->destinations[i].counters);
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ARMS]; i++)
		add(&place->arms, &segment->arms[i].counters);
	place->processes += segment->header.state == TWS_SEGMENT_TOTALS
				? segment->header.folded_processes
				: 1;
	return 0;
}

static void read_all(struct place *place)
{
	reader_free(&place->reader);
	assert_int_equal(reader_init(&place->reader), 0);
	place->sum = place->arms = (struct tws_counters){0};
	place->processes = 0;
	assert_int_equal(reader_read(&place->reader, place->path, false, take, place), 0);
}

static void write_as(struct place *place, const char *name)
{
	assert_int_equal(
	    saved_write(&place->saved, place->fd, name, sizeof(place->saved)), 0);
}

static void write_many(struct place *place, unsigned from, unsigned to)
{
	char name[64];

	for (unsigned i = from; i < to; i++) {
		snprintf(name, sizeof(name), "%llu-%u-%u-0.seg",
			 (unsigned long long)place->saved.header.pid_namespace, DEAD_PID,
			 i);
		write_as(place, name);
	}
}

/* How many files have a name with this suffix; the last of them in the result. */
static unsigned files(struct place *place, const char *suffix,
		      char ret_name[NAME_MAX + 1])
{
	DIR *dir = fdopendir(openat(place->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *entry;
	unsigned ret = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		size_t length = strlen(entry->d_name), end = strlen(suffix);

		if (length <= end || strcmp(entry->d_name + length - end, suffix) != 0)
			continue;
		ret++;
		if (ret_name)
			snprintf(ret_name, NAME_MAX + 1, "%s", entry->d_name);
	}
	closedir(dir);
	return ret;
}

static bool is_there(struct place *place, const char *name)
{
	return faccessat(place->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void set_age(struct place *place, const char *name, long seconds)
{
	struct timespec times[2];

	clock_gettime(CLOCK_REALTIME, &times[0]);
	times[0].tv_sec -= seconds;
	times[1] = times[0];
	assert_int_equal(utimensat(place->fd, name, times, AT_SYMLINK_NOFOLLOW), 0);
}

static void cut(struct place *place, const char *name, long size)
{
	int fd = openat(place->fd, name, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

/* ------------------------------------------------------------------- totals */

static void dead_segments_become_totals(void **state)
{
	struct place *place = *state;

	write_many(place, 0, 200);
	assert_int_equal(tws_fold(place->fd, &all), 200);
	assert_int_equal(files(place, ".seg", NULL), 0);
	assert_int_equal(files(place, ".totals", NULL), 1);
	assert_int_equal(files(place, ".tmp", NULL), 0);
	read_all(place);
	assert_int_equal(place->sum.value[TWS_attempts], 200);
	assert_int_equal(place->processes, 200);
}

static void totals_that_were_cut_go_aside_and_folding_goes_on(void **state)
{
	static const long sizes[] = {0, 100, 5000};
	struct place *place = *state;
	char name[NAME_MAX + 1];

	for (unsigned round = 0; round < 12; round++) {
		write_many(place, round * 10, round * 10 + 10);
		assert_true(tws_fold(place->fd, &all) == 10);
		assert_int_equal(files(place, ".totals", name), 1);
		cut(place, name, sizes[round % 3]);
	}
	write_many(place, 1000, 1010);
	assert_true(tws_fold(place->fd, &all) == 10);
	assert_int_equal(files(place, ".aside", NULL), TWS_FOLD_ASIDE);
	read_all(place);
	assert_int_equal(place->sum.value[TWS_attempts], 10);
	assert_int_equal(place->reader.skipped_count, TWS_FOLD_ASIDE);
	assert_string_equal(place->reader.skipped[0].reason,
			    "totals that were damaged: what they held is lost");
}

static void nothing_in_the_place_of_totals_stops_the_folding(void **state)
{
	struct place *place = *state;
	char name[NAME_MAX + 1];

	write_many(place, 0, 10);
	assert_int_equal(tws_fold(place->fd, &all), 10);
	assert_int_equal(files(place, ".totals", name), 1);
	for (unsigned kind = 0; kind < 3; kind++) {
		unlinkat(place->fd, name, 0);
		if (kind == 0)
			assert_int_equal(mkdirat(place->fd, name, 0700), 0);
		else if (kind == 1)
			assert_int_equal(symlinkat("elsewhere", place->fd, name), 0);
		else
			assert_int_equal(mkfifoat(place->fd, name, 0600), 0);
		write_many(place, 10 + kind * 10, 20 + kind * 10);
		assert_true(tws_fold(place->fd, &all) == 10);
	}
}

/* --------------------------------------------------------------- exactly once */

/* From now on this process cannot remove files. */
static void forbid_unlink(void)
{
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unlinkat, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(77);
}

static void what_cannot_be_removed_is_not_counted_again(void **state)
{
	struct place *place = *state;
	pid_t child;
	int status;

	write_many(place, 0, 200);
	child = fork();
	if (child == 0) {
		forbid_unlink();
		for (int i = 0; i < 4; i++)
			tws_fold(place->fd, &all);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
	read_all(place);
	assert_int_equal(place->sum.value[TWS_attempts], 200);
	assert_true(tws_fold(place->fd, &all) > 0);
	assert_int_equal(files(place, ".seg", NULL), 0);
	read_all(place);
	assert_int_equal(place->sum.value[TWS_attempts], 200);
}

static void a_second_hard_link_is_not_a_second_process(void **state)
{
	struct place *place = *state;

	write_as(place, "1-1-1-0.seg");
	assert_int_equal(linkat(place->fd, "1-1-1-0.seg", place->fd, "1-1-2-0.seg", 0),
			 0);
	write_many(place, 0, 1);
	tws_fold(place->fd, &all);
	read_all(place);
	assert_int_equal(place->sum.value[TWS_attempts], 1);
	assert_int_equal(place->reader.skipped_count, 2);
}

enum { FOLDERS = 3, STORM = 700 };

static void fold_for_ever(int fd)
{
	const struct tws_fold_limits some = {
	    .retention_s = 60, .max_segments = 1, .most = 1};

	for (;;)
		tws_fold(fd, &some);
}

static void a_lock_that_is_taken_away_costs_no_count(void **state)
{
	struct place *place = *state;
	pid_t folder[FOLDERS];
	time_t until;

	for (unsigned i = 0; i < FOLDERS; i++) {
		folder[i] = fork();
		if (folder[i] == 0)
			fold_for_ever(place->fd);
	}
	for (unsigned i = 0; i < STORM; i++) {
		write_many(place, i, i + 1);
		unlinkat(place->fd, TWS_FOLD_LOCK, 0);
	}
	until = time(NULL) + 20;
	while (files(place, ".seg", NULL) && time(NULL) < until)
		unlinkat(place->fd, TWS_FOLD_LOCK, 0);
	for (unsigned i = 0; i < FOLDERS; i++) {
		kill(folder[i], SIGKILL);
		waitpid(folder[i], NULL, 0);
	}
	read_all(place);
	assert_int_equal(place->sum.value[TWS_attempts], STORM);
}

/* ---------------------------------------------------------------- endings */

/* Killed in tws_conn_fail() or a similar function: the slot has its new state, and
 * nothing is counted. */
static void one_killed_between_two_steps_is_settled(void **state)
{
	struct place *place = *state;
	struct tws_counters *counters = &place->saved.destinations[1].counters;
	struct tws_arm *arm = &place->saved.arms[0];
	const struct tws_counters *each[] = {&place->sum, &place->arms};

	*counters = (struct tws_counters){0};
	counters->value[TWS_attempts] = 3;
	counters->value[TWS_established] = 1;
	arm->state = TWS_DESTINATION_READY;
	arm->counters = *counters;
	place->saved.header.section[TWS_SECTION_ARMS].used = 1;
	saved_connection(&place->saved, TWS_CONN_CLAIMED, 5);
	saved_connection(&place->saved, TWS_CONN_OPEN, 6)->arm = 1;
	write_many(place, 0, 1);
	place->saved.header.section[TWS_SECTION_CONNECTIONS].used = 0;
	write_many(place, 1, 2);
	assert_int_equal(tws_fold(place->fd, &all), 2);
	read_all(place);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(each[i]->value[TWS_attempts], 6);
		assert_int_equal(each[i]->value[TWS_abandoned], 4);
		assert_int_equal(each[i]->value[TWS_established], 2);
		assert_int_equal(each[i]->value[TWS_ended_unseen], 2);
		assert_int_equal(each[i]->value[TWS_via_kill], 2);
	}
}

/* ---------------------------------------------------------------- bounded */

static void segments_that_nobody_can_read_go_in_time(void **state)
{
	struct place *place = *state;
	const unsigned long long space = place->saved.header.pid_namespace;
	const struct {
		bool stays;
		unsigned long long space;
		unsigned pid;
		long age_s;
		uint16_t abi;
	} row[] = {
	    {false, space, DEAD_PID, 100, TWS_ABI_MAJOR},
	    {true, space, DEAD_PID, 10, TWS_ABI_MAJOR},
	    {true, space, (unsigned)getpid(), 100, TWS_ABI_MAJOR},
	    {true, space + 1, DEAD_PID, 100, TWS_ABI_MAJOR},
	    {false, space + 1, DEAD_PID, 90000, TWS_ABI_MAJOR},
	    {true, space, DEAD_PID, 100, TWS_ABI_MAJOR + 1},
	    {false, space, DEAD_PID, 90000, TWS_ABI_MAJOR + 1},
	    {true, space + 1, DEAD_PID, 90000, TWS_ABI_MAJOR + 1},
	    {true, space, (unsigned)getpid(), 90000, TWS_ABI_MAJOR},
	    {true, space, (unsigned)getpid(), 90000, TWS_ABI_MAJOR + 1},
	};
	char name[64];

	for (unsigned i = 0; i < sizeof(row) / sizeof(*row); i++) {
		snprintf(name, sizeof(name), "%llu-%u-%u-0.seg", row[i].space, row[i].pid,
			 i);
		place->saved.header.abi_major = row[i].abi;
		write_as(place, name);
		if (row[i].abi == TWS_ABI_MAJOR)
			cut(place, name, 5000);
		set_age(place, name, row[i].age_s);
	}
	assert_int_equal(tws_fold(place->fd, &all), 0);
	for (unsigned i = 0; i < sizeof(row) / sizeof(*row); i++) {
		snprintf(name, sizeof(name), "%llu-%u-%u-0.seg", row[i].space, row[i].pid,
			 i);
		if (is_there(place, name) != row[i].stays)
			fail_msg("row %u", i);
	}
}

static void another_users_file_is_not_removed(void **state)
{
	struct place *place = *state;

	if (geteuid() != 0)
		skip();
	for (unsigned i = 0; i < 2; i++) {
		const char *name = i ? "1-2-3.tmp" : "1-2-3-0.seg";

		assert_int_equal(saved_write(&place->saved, place->fd, name, 100), 0);
		assert_int_equal(fchownat(place->fd, name, 12345, 12345, 0), 0);
		set_age(place, name, 90000);
	}
	assert_int_equal(tws_fold(place->fd, &all), 0);
	assert_true(is_there(place, "1-2-3-0.seg"));
	assert_true(is_there(place, "1-2-3.tmp"));
}

/* As a client folds: at most 128 segments at a time, which is too few if short processes
 * come faster than a client can afford to look at all of them. */
static void a_storm_of_short_processes_does_not_outrun_the_folding(void **state)
{
	struct place *place = *state;
	const struct tws_fold_limits client = {.most = 128};

	write_many(place, 0, 1100);
	assert_true(tws_fold(place->fd, &client) >= 1000);
	assert_true(files(place, ".seg", NULL) <= 100);
	read_all(place);
	assert_int_equal(place->sum.value[TWS_attempts], 1100);
	write_many(place, 2000, 2300);
	assert_int_equal(tws_fold(place->fd, &client), 128);
}

static void the_totals_of_a_run_are_kept_apart_until_it_has_ended(void **state)
{
	static const uint8_t run[TWS_RUN_SIZE] = {0xab, [15] = 0xcd};
	static const char directory[] = "run-ab0000000000000000000000000000cd";
	struct place *place = *state;

	assert_int_equal(mkdirat(place->fd, directory, 0700), 0);
	memcpy(place->saved.header.run, run, sizeof(run));
	write_many(place, 0, 3);
	memset(place->saved.header.run, 0, sizeof(run));
	write_many(place, 10, 12);
	assert_int_equal(tws_fold(place->fd, &all), 5);
	assert_int_equal(files(place, ".totals", NULL), 2);
	read_all(place);
	assert_int_equal(place->sum.value[TWS_attempts], 5);

	assert_int_equal(unlinkat(place->fd, directory, AT_REMOVEDIR), 0);
	for (int i = 0; i < 2; i++)
		tws_fold(place->fd, &all);
	assert_int_equal(files(place, ".totals", NULL), 1);
	assert_int_equal(files(place, ".seg", NULL), 0);
	read_all(place);
	assert_int_equal(place->sum.value[TWS_attempts], 5);
	assert_int_equal(place->processes, 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(dead_segments_become_totals),
	    TEST(totals_that_were_cut_go_aside_and_folding_goes_on),
	    TEST(nothing_in_the_place_of_totals_stops_the_folding),
	    TEST(what_cannot_be_removed_is_not_counted_again),
	    TEST(a_second_hard_link_is_not_a_second_process),
	    TEST(a_lock_that_is_taken_away_costs_no_count),
	    TEST(one_killed_between_two_steps_is_settled),
	    TEST(segments_that_nobody_can_read_go_in_time),
	    TEST(another_users_file_is_not_removed),
	    TEST(a_storm_of_short_processes_does_not_outrun_the_folding),
	    TEST(the_totals_of_a_run_are_kept_apart_until_it_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
