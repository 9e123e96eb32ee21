/* SPDX-License-Identifier: MIT
 *
 * How the reader treats a directory: it takes valid segments, skips everything else and
 * names it with a reason, follows no link and waits for nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/unit/saved_directory.h"

struct place {
	char path[SAVED_PATH];
	int fd;
	struct reader reader;
	struct saved saved;
	unsigned taken;
	uint64_t attempts;
	enum process_life life; /* of the last one taken */
	uint32_t ended;
	bool by_root, is_observed;
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	assert_non_null(place);
	snprintf(place->path, sizeof(place->path), "/tmp/twshim-reader.XXXXXX");
	place->fd = saved_directory(place->path, &place->reader, &place->saved);
	place->saved.destinations[1].counters.value[TWS_attempts] = 1;
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

static int take(struct segment *segment, void *data)
{
	struct place *place = data;

	place->taken++;
	place->life = segment->life;
	place->by_root = segment->by_root;
	place->is_observed = segment->is_observed;
	place->ended = segment->used[TWS_SECTION_ENDED];
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++)
		place->attempts += segment->destinations[i].counters.value[TWS_attempts];
	return 0;
}

static void write_as(struct place *place, const char *name)
{
	assert_int_equal(
	    saved_write(&place->saved, place->fd, name, sizeof(place->saved)), 0);
}

static void read_all(struct place *place)
{
	place->taken = 0;
	place->attempts = 0;
	assert_int_equal(reader_read(&place->reader, place->path, false, take, place), 0);
}

/* The reason for the one file that was skipped. */
static const char *reason(struct place *place)
{
	read_all(place);
	assert_int_equal(place->taken, 0);
	assert_int_equal(place->reader.skipped_count, 1);
	return place->reader.skipped[0].reason;
}

static void a_segment_is_taken(void **state)
{
	struct place *place = *state;

	write_as(place, "1-2-3-0.seg");
	read_all(place);
	assert_int_equal(place->taken, 1);
	assert_int_equal(place->attempts, 1);
	assert_int_equal(place->reader.skipped_count, 0);
}

static void what_nobody_wants_is_not_read(void **state)
{
	struct place *place = *state;

	saved_ended(&place->saved, 1, TWS_END_LOCAL_FIN, SAVED_SECOND);
	write_as(place, "1-2-3-0.seg");
	read_all(place);
	assert_int_equal(place->ended, 1);
	place->reader.without = 1u << TWS_SECTION_ENDED;
	read_all(place);
	assert_int_equal(place->ended, 0);
	assert_int_equal(place->attempts, 1);
}

/* The file name of a segment of this process. */
static uint64_t own_start_time(void)
{
	FILE *file = fopen("/proc/self/stat", "re");
	char text[1024] = "";
	uint64_t start = 0;
	bool zombie;

	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	assert_true(process_parse_stat(text, &start, &zombie));
	return start;
}

static enum process_life life_as(struct place *place, const char *name)
{
	write_as(place, name);
	read_all(place);
	assert_int_equal(place->taken, 1);
	assert_int_equal(unlinkat(place->fd, name, 0), 0);
	return place->life;
}

static void a_life_is_that_of_the_header_whatever_the_file_is_called(void **state)
{
	struct place *place = *state;
	struct tws_header *header = &place->saved.header;
	char ours[96], dead[96];

	snprintf(dead, sizeof(dead), "%llu-4242-1-0.seg",
		 (unsigned long long)header->pid_namespace);
	snprintf(ours, sizeof(ours), "%llu-%d-%llu-0.seg",
		 (unsigned long long)header->pid_namespace, (int)getpid(),
		 (unsigned long long)own_start_time());
	assert_int_equal(life_as(place, dead), PROCESS_DEAD);
	assert_int_equal(life_as(place, ours), PROCESS_DEAD);
	assert_int_equal(life_as(place, "x.seg"), PROCESS_DEAD);
	header->pid = (uint32_t)getpid();
	header->start_time = own_start_time();
	assert_int_equal(life_as(place, ours), PROCESS_ALIVE);
	assert_int_equal(life_as(place, dead), PROCESS_ALIVE);
	assert_int_equal(life_as(place, "x.seg"), PROCESS_ALIVE);
	header->start_time++; /* the pid was given to another process */
	assert_int_equal(life_as(place, ours), PROCESS_DEAD);
}

static void roots_observer_speaks_for_another_users_process(void **state)
{
	struct place *place = *state;
	struct tws_header *header = &place->saved.header;

	if (geteuid() != 0)
		skip();
	header->uid = 65534;
	header->observer = TWS_OBSERVER_BPF;
	write_as(place, "1-2-3-0.seg");
	read_all(place);
	assert_int_equal(place->taken, 1);
	assert_true(place->by_root);
	header->observer = TWS_OBSERVER_SHIM;
	write_as(place, "1-2-3-0.seg");
	assert_string_equal(reason(place), "its owner is not the process's user");
}

static void an_observer_is_there_as_long_as_it_lives(void **state)
{
	struct place *place = *state;
	struct tws_header *header = &place->saved.header;

	header->observer = TWS_OBSERVER_BPF;
	header->observer_pid_namespace = header->pid_namespace;
	header->observer_pid = (uint32_t)getpid();
	header->observer_start_time = own_start_time();
	write_as(place, "1-2-3-0.seg");
	read_all(place);
	assert_true(place->is_observed);
	header->observer_start_time++; /* its pid was given to another process */
	write_as(place, "1-2-3-0.seg");
	read_all(place);
	assert_false(place->is_observed);
}

static void
segments_of_runs_are_taken_unless_only_the_directory_is_asked_for(void **state)
{
	struct place *place = *state;

	assert_int_equal(mkdirat(place->fd, "run-1", 0700), 0);
	assert_int_equal(mkdirat(place->fd, "other", 0700), 0);
	write_as(place, "1-2-3-0.seg");
	write_as(place, "run-1/1-2-3-0.seg");
	write_as(place, "other/1-2-3-0.seg");
	read_all(place);
	assert_int_equal(place->taken, 2);
	place->taken = 0;
	assert_int_equal(reader_read(&place->reader, place->path, true, take, place), 0);
	assert_int_equal(place->taken, 1);
}

static void temporary_and_other_files_are_no_business_of_ours(void **state)
{
	struct place *place = *state;

	write_as(place, "1-2-3-0.tmp");
	write_as(place, "policy.ctl");
	write_as(place, ".seg");
	read_all(place);
	assert_int_equal(place->taken, 0);
	assert_int_equal(place->reader.skipped_count, 0);
}

static void a_directory_that_is_not_there_is_an_error_and_no_crash(void **state)
{
	struct place *place = *state;

	assert_int_equal(
	    reader_read(&place->reader, "/nonexistent/x", false, take, place), -ENOENT);
}

static void an_empty_file_is_skipped(void **state)
{
	struct place *place = *state;

	assert_int_equal(saved_write(&place->saved, place->fd, "a.seg", 0), 0);
	assert_string_equal(reason(place), "empty");
}

static void a_short_file_is_skipped(void **state)
{
	struct place *place = *state;

	assert_int_equal(saved_write(&place->saved, place->fd, "a.seg", 100), 0);
	assert_string_equal(reason(place), "truncated header");
}

static void a_file_cut_behind_its_header_is_skipped(void **state)
{
	struct place *place = *state;

	assert_int_equal(saved_write(&place->saved, place->fd, "a.seg", 5000), 0);
	assert_string_equal(reason(place), "truncated");
}

static void a_huge_file_is_skipped(void **state)
{
	struct place *place = *state;
	int fd;

	write_as(place, "a.seg");
	fd = openat(place->fd, "a.seg", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, READER_SIZE_MAX + 1), 0);
	close(fd);
	assert_string_equal(reason(place), "oversized");
}

static void a_foreign_file_is_skipped(void **state)
{
	struct place *place = *state;

	place->saved.header.magic++;
	write_as(place, "a.seg");
	assert_string_equal(reason(place), "no segment: wrong magic");
}

static void a_segment_of_the_other_byte_order_is_skipped(void **state)
{
	struct place *place = *state;

	place->saved.header.magic = __builtin_bswap64(TWS_MAGIC);
	write_as(place, "a.seg");
	assert_string_equal(reason(place), "foreign byte order");
}

static void another_abi_is_skipped(void **state)
{
	struct place *place = *state;

	place->saved.header.abi_major++;
	write_as(place, "a.seg");
	assert_string_equal(reason(place), "another ABI version");
}

static void another_boot_is_skipped(void **state)
{
	struct place *place = *state;

	place->saved.header.boot_id[3] ^= 1;
	write_as(place, "a.seg");
	assert_string_equal(reason(place), "from another boot");
}

static void a_segment_under_a_strangers_name_is_skipped(void **state)
{
	struct place *place = *state;

	place->saved.header.uid++;
	write_as(place, "a.seg");
	assert_string_equal(reason(place), "its owner is not the process's user");
}

static void a_symbolic_link_is_not_followed(void **state)
{
	struct place *place = *state;

	write_as(place, "target");
	assert_int_equal(symlinkat("target", place->fd, "a.seg"), 0);
	assert_string_equal(reason(place), "a symbolic link");
}

static void a_hard_link_is_skipped(void **state)
{
	struct place *place = *state;

	write_as(place, "target");
	assert_int_equal(linkat(place->fd, "target", place->fd, "a.seg", 0), 0);
	assert_string_equal(reason(place), "has a second hard link");
}

static void a_fifo_keeps_nobody_waiting(void **state)
{
	struct place *place = *state;

	assert_int_equal(mkfifoat(place->fd, "a.seg", 0600), 0);
	assert_string_equal(reason(place), "a FIFO");
}

static void a_directory_named_like_a_segment_is_skipped(void **state)
{
	struct place *place = *state;

	assert_int_equal(mkdirat(place->fd, "a.seg", 0700), 0);
	assert_string_equal(reason(place), "no regular file");
}

static void a_linked_run_directory_is_not_entered(void **state)
{
	struct place *place = *state;

	assert_int_equal(mkdirat(place->fd, "elsewhere", 0700), 0);
	write_as(place, "elsewhere/1-2-3-0.seg");
	assert_int_equal(symlinkat("elsewhere", place->fd, "run-1"), 0);
	read_all(place);
	assert_int_equal(place->taken, 0);
}

static void what_totals_hold_is_not_counted_again(void **state)
{
	struct place *place = *state;

	write_as(place, "1-2-3-0.seg");
	write_as(place, "1-2-4-0.seg");
	place->saved.header.state = TWS_SEGMENT_TOTALS;
	place->saved.destinations[1].counters.value[TWS_attempts] = 100;
	place->saved.header.section[TWS_SECTION_FOLDED].used = 1;
	snprintf(place->saved.folded[0].name, sizeof(place->saved.folded[0].name),
		 "1-2-3-0.seg");
	write_as(place, "x.totals");
	read_all(place);
	assert_int_equal(place->taken, 2);
	assert_int_equal(place->attempts, 101);
}

static void only_the_first_hundred_reasons_are_kept_and_all_are_counted(void **state)
{
	struct place *place = *state;
	char name[32];

	for (int i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "%d.seg", i);
		assert_int_equal(saved_write(&place->saved, place->fd, name, 0), 0);
	}
	read_all(place);
	assert_int_equal(place->reader.skipped_count, 150);
}

/* Whatever is in the file, the reader returns and reads only inside its copy. */
static void damaged_segments_never_harm(void **state)
{
	struct place *place = *state;
	unsigned seed = (unsigned)time(NULL);
	static struct saved whole;

	print_message("seed %u\n", seed);
	whole = place->saved;
	for (int round = 0; round < 2000; round++) {
		place->saved = whole;
		for (int i = rand_r(&seed) % 8; i >= 0; i--)
			((uint8_t *)&place->saved)[(unsigned)rand_r(&seed) % 480] ^=
			    (uint8_t)(1u << rand_r(&seed) % 8);
		write_as(place, "a.seg");
		read_all(place);
	}
}

static void a_ring_gives_only_records_that_are_whole(void **state)
{
	struct place *place = *state;
	struct saved *saved = &place->saved;
	struct segment segment;

	for (uint64_t i = 0; i < SAVED_RING; i++)
		saved_ended(saved, i + 1, TWS_END_LOCAL_FIN, SAVED_SECOND);
	segment = saved_segment(saved, PROCESS_ALIVE);
	assert_true(segment_ended_is_whole(&segment, 0));
	saved->ended[1].sequence = 0; /* being written */
	assert_false(segment_ended_is_whole(&segment, 1));
	segment.header.ended_tickets++; /* record 0 is about to be overwritten */
	assert_false(segment_ended_is_whole(&segment, 0));
	assert_true(segment_ended_is_whole(&segment, 2));
	saved->ended[2].sequence = 4; /* is in the place of another record */
	assert_false(segment_ended_is_whole(&segment, 2));
}

static void the_stat_file_is_read_from_the_last_parenthesis(void **state)
{
	const char *text =
	    "7 (a) R 1 (b)) Z 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 12345 0";
	uint64_t start;
	bool zombie;

	(void)state;
	assert_true(process_parse_stat(text, &start, &zombie));
	assert_int_equal(start, 12345);
	assert_true(zombie);
	assert_false(process_parse_stat("", &start, &zombie));
	assert_false(process_parse_stat("7 (a) R", &start, &zombie));
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_PLACE(a_segment_is_taken),
	    IN_PLACE(what_nobody_wants_is_not_read),
	    IN_PLACE(a_life_is_that_of_the_header_whatever_the_file_is_called),
	    IN_PLACE(roots_observer_speaks_for_another_users_process),
	    IN_PLACE(an_observer_is_there_as_long_as_it_lives),
	    IN_PLACE(segments_of_runs_are_taken_unless_only_the_directory_is_asked_for),
	    IN_PLACE(temporary_and_other_files_are_no_business_of_ours),
	    IN_PLACE(a_directory_that_is_not_there_is_an_error_and_no_crash),
	    IN_PLACE(an_empty_file_is_skipped),
	    IN_PLACE(a_short_file_is_skipped),
	    IN_PLACE(a_file_cut_behind_its_header_is_skipped),
	    IN_PLACE(a_huge_file_is_skipped),
	    IN_PLACE(a_foreign_file_is_skipped),
	    IN_PLACE(a_segment_of_the_other_byte_order_is_skipped),
	    IN_PLACE(another_abi_is_skipped),
	    IN_PLACE(another_boot_is_skipped),
	    IN_PLACE(a_segment_under_a_strangers_name_is_skipped),
	    IN_PLACE(a_symbolic_link_is_not_followed),
	    IN_PLACE(a_hard_link_is_skipped),
	    IN_PLACE(a_fifo_keeps_nobody_waiting),
	    IN_PLACE(a_directory_named_like_a_segment_is_skipped),
	    IN_PLACE(a_linked_run_directory_is_not_entered),
	    IN_PLACE(what_totals_hold_is_not_counted_again),
	    IN_PLACE(only_the_first_hundred_reasons_are_kept_and_all_are_counted),
	    IN_PLACE(damaged_segments_never_harm),
	    IN_PLACE(a_ring_gives_only_records_that_are_whole),
	    cmocka_unit_test(the_stat_file_is_read_from_the_last_parenthesis),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
