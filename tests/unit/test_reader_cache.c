/* SPDX-License-Identifier: MIT
 *
 * Segments that nobody writes any more are kept between readings, with the same result as
 * reading them again, and only as long as the file is unchanged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/saved_directory.h"
#include "tools/segments/cache.h"

#define NAME "1-4242-1-0.seg"

struct place {
	char path[SAVED_PATH];
	int fd;
	struct reader reader;
	struct reader_cache *cache;
	struct saved saved;
	unsigned taken;
	struct segment last; /* its pointers are no longer valid */
	char directory[32];  /* its directory */
	uint64_t attempts, failed, ended, time_wait;
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	struct saved *saved;

	assert_non_null(place);
	saved = &place->saved;
	snprintf(place->path, sizeof(place->path), "/tmp/twshim-cache.XXXXXX");
	place->fd = saved_directory(place->path, &place->reader, &place->saved);
	place->cache = reader_cache_new();
	assert_non_null(place->cache);
	place->reader.cache = place->cache;
	saved->destinations[1].counters.value[TWS_attempts] = 1;
	saved_connection(saved, TWS_CONN_FREE, 1)->failure = TWS_failed_no_port;
	saved_ended(saved, 1, TWS_END_LOCAL_FIN, SAVED_SECOND);
	saved_time_wait(saved, 77);
	*state = place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;

	saved_directory_remove(place->path, place->fd, &place->reader);
	reader_cache_free(place->cache);
	free(place);
	return 0;
}

/* Settles connections in the segment, as the model does. */
static int take(struct segment *segment, void *data)
{
	struct place *place = data;

	place->taken++;
	place->last = *segment;
	snprintf(place->directory, sizeof(place->directory), "%s", segment->directory);
	place->attempts = place->failed = place->ended = place->time_wait = 0;
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++) {
		place->attempts += segment->destinations[i].counters.value[TWS_attempts];
		segment->destinations[i].counters.value[TWS_attempts] += 1000;
	}
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_CONNECTIONS]; i++)
		place->failed += segment->connections[i].failure == TWS_failed_no_port;
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ENDED]; i++)
		place->ended += segment_ended_is_whole(segment, i);
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_TIME_WAIT]; i++)
		place->time_wait += TWS_TW_COOKIE(segment->time_wait[i]);
	return 0;
}

static void write_as(struct place *place, const char *name)
{
	assert_int_equal(
	    saved_write(&place->saved, place->fd, name, sizeof(place->saved)), 0);
}

/* How many of the files are kept after it; all have the same size. */
static size_t read_all(struct place *place)
{
	place->taken = 0;
	reader_cache_begin(place->cache);
	assert_int_equal(reader_read(&place->reader, place->path, false, take, place), 0);
	reader_cache_end(place->cache);
	return reader_cache_bytes(place->cache);
}

static bool is_kept(struct place *place, const char *name)
{
	struct segment segment;

	return reader_cache_recall(place->cache, place->fd, name, &segment);
}

static void expect(const struct place *place, uint64_t attempts)
{
	assert_int_equal(place->taken, 1);
	assert_int_equal(place->attempts, attempts);
	assert_int_equal(place->failed, 1);
	assert_int_equal(place->ended, 1);
	assert_int_equal(place->time_wait, 77);
	assert_int_equal(place->last.life, PROCESS_DEAD);
	assert_string_equal(place->last.header.exe, "/usr/bin/x");
}

static void a_dead_processs_segment_is_kept_and_the_same_each_time(void **state)
{
	struct place *place = *state;
	size_t bytes;

	write_as(place, NAME);
	place->reader.cache = NULL;
	assert_int_equal(read_all(place), 0);
	expect(place, 1);
	place->reader.cache = place->cache;
	bytes = read_all(place);
	assert_true(bytes > 0);
	for (int i = 0; i < 3; i++) {
		assert_true(is_kept(place, NAME));
		assert_int_equal(read_all(place), bytes);
		expect(place, 1);
	}
}

static void a_segment_that_changes_is_read_again(void **state)
{
	struct place *place = *state;

	write_as(place, NAME);
	read_all(place);
	place->saved.destinations[1].counters.value[TWS_attempts] = 2;
	write_as(place, NAME); /* in place: the same inode, another mtime */
	assert_false(is_kept(place, NAME));
	read_all(place);
	expect(place, 2);
}

static void a_segment_that_is_replaced_under_its_name_is_read_again(void **state)
{
	struct place *place = *state;
	const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

	write_as(place, NAME);
	assert_int_equal(utimensat(place->fd, NAME, times, 0), 0);
	read_all(place);
	place->saved.destinations[1].counters.value[TWS_attempts] = 3;
	write_as(place, "other");
	assert_int_equal(utimensat(place->fd, "other", times, 0), 0);
	assert_int_equal(renameat(place->fd, "other", place->fd, NAME), 0);
	assert_false(is_kept(place, NAME));
	read_all(place);
	expect(place, 3);
}

static void a_segment_that_is_cut_is_skipped(void **state)
{
	struct place *place = *state;
	int fd;

	write_as(place, NAME);
	read_all(place);
	fd = openat(place->fd, NAME, O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 5000), 0);
	close(fd);
	assert_int_equal(read_all(place), 0);
	assert_int_equal(place->taken, 0);
	assert_int_equal(place->reader.skipped_count, 1);
}

static void a_second_name_is_noticed(void **state)
{
	struct place *place = *state;

	write_as(place, NAME);
	read_all(place);
	assert_int_equal(linkat(place->fd, NAME, place->fd, "target", 0), 0);
	read_all(place);
	assert_int_equal(place->taken, 0);
	assert_string_equal(place->reader.skipped[0].reason, "has a second hard link");
}

static void what_is_gone_is_forgotten(void **state)
{
	struct place *place = *state;

	write_as(place, NAME);
	assert_true(read_all(place) > 0);
	assert_int_equal(unlinkat(place->fd, NAME, 0), 0);
	assert_int_equal(read_all(place), 0);
}

static void what_a_totals_file_has_taken_in_is_counted_there_alone(void **state)
{
	struct place *place = *state;
	struct saved *saved = &place->saved;

	write_as(place, NAME);
	assert_true(read_all(place) > 0);
	saved->header.state = TWS_SEGMENT_TOTALS;
	saved->header.section[TWS_SECTION_FOLDED].used = 1;
	snprintf(saved->folded[0].name, sizeof(saved->folded[0].name), NAME);
	write_as(place, "x.totals");
	assert_int_equal(read_all(place), 0);
	assert_int_equal(place->taken, 1);
	assert_int_equal(place->last.header.state, TWS_SEGMENT_TOTALS);
}

static void a_process_that_may_live_is_not_kept(void **state)
{
	struct place *place = *state;

	place->saved.header.pid_namespace = 0; /* its process cannot be looked up */
	write_as(place, NAME);
	assert_int_equal(read_all(place), 0);
	assert_int_equal(place->last.life, PROCESS_UNKNOWN);
	place->saved.header.pid_namespace = place->reader.processes.pid_namespace;
	write_as(place, NAME);
	assert_true(read_all(place) > 0);
}

/* A child that inherited it may still end it, in its parent's book. */
static void a_connection_left_open_keeps_a_segment_from_being_kept(void **state)
{
	struct place *place = *state;

	for (uint32_t slot = TWS_CONN_CLAIMED; slot <= TWS_CONN_ENDING; slot++) {
		place->saved.connections[0].state = slot;
		write_as(place, NAME);
		assert_int_equal(read_all(place), 0);
	}
	place->saved.connections[0].state = TWS_CONN_FREE;
	write_as(place, NAME);
	assert_true(read_all(place) > 0);
}

static void files_of_one_name_in_two_directories_are_two(void **state)
{
	struct place *place = *state;

	assert_int_equal(mkdirat(place->fd, "run-1", 0700), 0);
	write_as(place, NAME);
	place->saved.destinations[1].counters.value[TWS_attempts] = 5;
	write_as(place, "run-1/" NAME);
	for (int i = 0; i < 2; i++) {
		read_all(place);
		assert_int_equal(place->taken, 2);
		assert_int_equal(place->attempts, 5);
		assert_string_equal(place->directory, "run-1");
	}
}

/* Another user's directory is read in full each time, and the cost is bounded. */
static void another_users_directory_is_read_each_time(void **state)
{
	struct place *place = *state;

	write_as(place, NAME);
	if (fchown(place->fd, 12345, 12345) != 0)
		skip();
	assert_int_equal(read_all(place), 0);
	assert_int_equal(place->taken, 1);
}

static void what_is_kept_is_bounded(void **state)
{
	struct place *place = *state;
	struct segment segment = saved_segment(&place->saved, PROCESS_DEAD);
	struct stat st;
	char name[32];
	size_t before = 0;

	write_as(place, NAME);
	assert_int_equal(fstatat(place->fd, NAME, &st, 0), 0);
	segment.name = name;
	reader_cache_begin(place->cache);
	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "1-%d-1-0.seg", i);
		before = reader_cache_bytes(place->cache);
		reader_cache_keep(place->cache, &st, &segment);
	}
	assert_int_equal(reader_cache_bytes(place->cache), before);
	assert_true(before <= READER_CACHE_BYTES);
	reader_cache_begin(place->cache);
	reader_cache_end(place->cache);
	assert_int_equal(reader_cache_bytes(place->cache), 0);
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_PLACE(a_dead_processs_segment_is_kept_and_the_same_each_time),
	    IN_PLACE(a_segment_that_changes_is_read_again),
	    IN_PLACE(a_segment_that_is_replaced_under_its_name_is_read_again),
	    IN_PLACE(a_segment_that_is_cut_is_skipped),
	    IN_PLACE(a_second_name_is_noticed),
	    IN_PLACE(what_is_gone_is_forgotten),
	    IN_PLACE(what_a_totals_file_has_taken_in_is_counted_there_alone),
	    IN_PLACE(a_process_that_may_live_is_not_kept),
	    IN_PLACE(a_connection_left_open_keeps_a_segment_from_being_kept),
	    IN_PLACE(files_of_one_name_in_two_directories_are_two),
	    IN_PLACE(another_users_directory_is_read_each_time),
	    IN_PLACE(what_is_kept_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
