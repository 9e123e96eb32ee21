/* SPDX-License-Identifier: MIT
 *
 * What was counted when: the ring of a process, what folding makes of it, and the numbers
 * of a period that the model takes from both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "shim/book/history.h"
#include "shim/shared/fold.h"
#include "tests/unit/own_book.h"
#include "tests/unit/saved_directory.h"
#include "tools/model/model.h"

#define DEAD_PID 0x7ffffff0u

/* Some time in a slice. */
static uint64_t in(uint32_t slice)
{
	return tws_slice_begins(slice) + 5;
}

/* ------------------------------------------------------------------ the shim's */

static char path[1024];

static const struct tws_slice *record_of(const struct tws_book *book, uint32_t index)
{
	return (const struct tws_slice *)(const void *)((const char *)book->header +
							book->slices.offset) +
	       index;
}

static void count(struct tws_book *book, uint16_t destination, uint32_t slice,
		  uint64_t attempts)
{
	tws_history_note(book, &book->destinations[destination], in(slice));
	tws_add(&book->destinations[destination].counters.value[TWS_attempts], attempts);
}

static void the_first_event_in_a_slice_keeps_what_was_counted_before(void **state)
{
	static const struct tws_settings usual;
	struct tws_book *book = make_book(&usual, path);
	const struct tws_address a = saved_ipv4(1, 80), b = saved_ipv4(2, 80);
	uint16_t first, second;

	(void)state;
	assert_non_null(book);
	first = tws_book_destination(book, &a);
	second = tws_book_destination(book, &b);
	count(book, first, 5, 3);
	count(book, first, 5, 1);
	count(book, second, 5, 9);
	assert_int_equal(book->header->slice_tickets, 0);
	count(book, first, 7, 2);
	count(book, first, 7, 2);
	count(book, first, 6, 1); /* a thread that looked at the clock earlier */
	assert_int_equal(book->header->slice_tickets, 1);
	assert_int_equal(book->header->slices.used, 1);
	assert_int_equal(record_of(book, 0)->sequence, 1);
	assert_int_equal(record_of(book, 0)->destination, first);
	assert_int_equal(record_of(book, 0)->slice, 5);
	assert_int_equal(record_of(book, 0)->until, 7);
	assert_int_equal(record_of(book, 0)->value[TWS_attempts], 4);
	tws_own_book = NULL;
	tws_books_forked();
}

static void the_ring_holds_the_newest_and_stays_in_its_place(void **state)
{
	static const struct tws_settings usual;
	struct tws_book *book = make_book(&usual, path);
	const struct tws_address a = saved_ipv4(1, 80);
	uint16_t destination;

	(void)state;
	assert_non_null(book);
	destination = tws_book_destination(book, &a);
	for (uint32_t slice = 1; slice <= TWS_SLICES + 10; slice++)
		count(book, destination, slice, 1);
	assert_int_equal(book->header->slices.used, TWS_SLICES);
	assert_int_equal(
	    tws_slices_known_from(book->header, record_of(book, 0), TWS_SLICES),
	    12); /* the record of slices 10 to 11 is the oldest left */
	tws_own_book = NULL;
	tws_books_forked();
}

/* ------------------------------------------------------------------ the model's */

struct place {
	char path[SAVED_PATH];
	int fd;
	struct reader reader;
	struct saved saved;
	struct model *model;
};

static int set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	struct saved *saved;

	assert_non_null(place);
	saved = &place->saved;
	snprintf(place->path, sizeof(place->path), "/dev/shm/twshim-slices.XXXXXX");
	place->fd = saved_directory(place->path, &place->reader, saved);
	saved->header.pid = DEAD_PID;
	/* It counted 4 in slice 10, 3 in slice 12, 2 in slice 20. */
	saved->destinations[1].counters.value[TWS_attempts] = 9;
	saved->destinations[1].counters.value[TWS_established] = 9;
	saved->destinations[1].counters.value[TWS_ended_local_fin] = 9;
	saved->destinations[1].slice = 20;
	saved_slice(saved, 1, 10, 12, 4);
	saved_slice(saved, 1, 12, 20, 7);
	saved->header.created_monotonic_ns = in(10);
	saved->header.created_realtime_ns = 1000000000u;
	saved->header.heartbeat_ns = in(20);
	*state = place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;

	model_free(place->model);
	saved_directory_remove(place->path, place->fd, &place->reader);
	free(place);
	return 0;
}

static void begin(struct place *place, uint32_t slice)
{
	const struct model_options options = {.since_ns = slice ? in(slice) : 0};

	model_free(place->model);
	place->model = model_new(&options);
	assert_non_null(place->model);
}

/* The period that begins with the slice: what it holds and what it leaves out. */
static void expect(struct place *place, uint64_t attempts, uint64_t older,
		   uint64_t doubtful)
{
	const struct model *model = place->model;

	assert_int_equal(model_finish(place->model), 0);
	assert_int_equal(model->total.value[TWS_attempts], attempts);
	assert_int_equal(model->total.value[TWS_established], attempts);
	assert_int_equal(model->total.value[TWS_ended_local_fin], attempts);
	assert_int_equal(model->window.older, older);
	assert_int_equal(model->window.doubtful, doubtful);
}

static void take_living(struct place *place, uint32_t slice)
{
	struct saved copy = place->saved;
	struct segment segment = saved_segment(&copy, PROCESS_ALIVE);

	begin(place, slice);
	assert_int_equal(model_take(&segment, place->model), 0);
}

static const struct {
	uint32_t slice;
	uint64_t attempts;
} periods[] = {{0, 9},	{1, 9},	 {10, 9}, {11, 5}, {12, 5},
	       {13, 2}, {20, 2}, {21, 0}, {99, 0}};

static void a_period_has_what_a_living_process_counted_in_it(void **state)
{
	struct place *place = *state;

	for (size_t i = 0; i < sizeof(periods) / sizeof(*periods); i++) {
		take_living(place, periods[i].slice);
		expect(place, periods[i].attempts, 9 - periods[i].attempts, 0);
	}
}

static void gauges_are_of_now_whatever_the_period(void **state)
{
	struct place *place = *state;
	struct tws_counters *counters = &place->saved.destinations[1].counters;

	counters->value[TWS_attempts] = counters->value[TWS_established] = 11;
	place->saved.destinations[1].slice = 12; /* two of slice 12 are still open */
	place->saved.header.slices.used = 1;
	place->saved.header.slice_tickets = 1;
	take_living(place, 50);
	assert_int_equal(model_finish(place->model), 0);
	assert_int_equal(place->model->total.value[TWS_attempts], 0);
	assert_int_equal(place->model->total.value[TWS_ended_local_fin], 0);
	assert_int_equal(place->model->total.value[TWS_open], 2);
}

static void what_the_ring_has_lost_counts_whole_and_is_said(void **state)
{
	struct place *place = *state;

	for (uint32_t slice = 20; slice < 25; slice++)
		saved_slice(&place->saved, 1, slice, slice + 1, 9);
	place->saved.destinations[1].slice = 25;
	place->saved.header.heartbeat_ns = in(25);
	take_living(place, 22);
	expect(place, 9, 0, 9); /* the record of slices 21 to 22 is the oldest left */
	take_living(place, 23);
	expect(place, 0, 9, 0);
	assert_string_equal(place->model->window.doubtful_app, "");
	place->saved.slices[0].sequence = 0; /* killed while it wrote */
	take_living(place, 23);
	expect(place, 9, 0, 9);
	assert_string_not_equal(place->model->window.doubtful_app, "");
	assert_int_equal(place->model->window.doubtful_since_ns, 1000000000u);
}

static void a_process_of_an_older_version_counts_whole_and_is_said(void **state)
{
	struct place *place = *state;

	place->saved.header.slices = (struct tws_section){0};
	place->saved.destinations[1].slice = 0;
	take_living(place, 10);
	expect(place, 9, 0, 0); /* it began in slice 10 */
	take_living(place, 15);
	expect(place, 9, 0, 9);
	take_living(place, 21);
	expect(place, 0, 9, 0); /* it was last heard of in slice 20 */
}

static void slices_that_lie_or_are_too_many_are_not_used(void **state)
{
	struct place *place = *state;
	const struct tws_header good = place->saved.header;
	struct tws_header *header = &place->saved.header;

#define BAD(damage)                                                                      \
	do {                                                                             \
		*header = good;                                                          \
		damage;                                                                  \
		assert_non_null(tws_slices_validate(header));                            \
	} while (0)

	assert_null(tws_slices_validate(header));
	BAD(header->slices.count = 0);
	BAD(header->slices.used = header->slices.count + 1);
	BAD(header->slices.offset = header->size);
	BAD(header->slices.offset++);
	BAD(header->slices.offset = 0);
	BAD(header->slices.element_size++);
	BAD(header->slices.count = UINT32_MAX);
	BAD(header->size = UINT32_MAX; header->slices.count = TWS_SLICES_MOST + 1);
	BAD(header->state = TWS_SEGMENT_TOTALS); /* an older version copied them */
#undef BAD
}

/* ------------------------------------------------------------------- folding */

static void fold(struct place *place, unsigned start)
{
	static const struct tws_fold_limits all = {.retention_s = 1, .max_segments = 1};
	char name[64];

	snprintf(name, sizeof(name), "%llu-%u-%u-0.seg",
		 (unsigned long long)place->saved.header.pid_namespace, DEAD_PID, start);
	assert_int_equal(
	    saved_write(&place->saved, place->fd, name, sizeof(place->saved)), 0);
	assert_int_equal(tws_fold(place->fd, &all), 1);
}

static void read_period(struct place *place, uint32_t slice)
{
	reader_free(&place->reader);
	assert_int_equal(reader_init(&place->reader), 0);
	begin(place, slice);
	assert_int_equal(
	    reader_read(&place->reader, place->path, true, model_take, place->model), 0);
}

static void totals_know_when_the_dead_counted(void **state)
{
	struct place *place = *state;

	for (unsigned start = 0; start < 3; start++)
		fold(place, start);
	for (size_t i = 0; i < sizeof(periods) / sizeof(*periods); i++) {
		read_period(place, periods[i].slice);
		expect(place, 3 * periods[i].attempts, 27 - 3 * periods[i].attempts, 0);
		assert_int_equal(place->model->apps[0].processes,
				 periods[i].slice <= 20 ? 3 : 0);
	}
}

static void totals_forget_the_oldest_slice_and_say_so(void **state)
{
	struct place *place = *state;

	place->saved.header.slices.used = 0;
	place->saved.header.slice_tickets = 0;
	for (uint32_t slice = 100; slice < 100 + TWS_SLICES_TOTALS; slice++) {
		place->saved.destinations[1].slice = slice;
		place->saved.header.created_monotonic_ns = in(slice);
		place->saved.header.heartbeat_ns = in(slice);
		fold(place, slice);
	}
	/* Two entries for each: the destination, and the process that ended. */
	read_period(place, 100 + TWS_SLICES_TOTALS / 2);
	expect(place, 9 * TWS_SLICES_TOTALS / 2, 9 * TWS_SLICES_TOTALS / 2, 0);
	read_period(place, 99 + TWS_SLICES_TOTALS / 2);
	expect(place, 9 * TWS_SLICES_TOTALS, 0, 9 * TWS_SLICES_TOTALS);
}

static void totals_without_slices_of_their_own_count_whole(void **state)
{
	struct place *place = *state;

	place->saved.header.slices = (struct tws_section){0};
	place->saved.destinations[1].slice = 0;
	fold(place, 1);
	read_period(place, 20);
	expect(place, 9, 0, 9);
	read_period(place, 21);
	expect(place, 0, 9, 0);
}

int main(void)
{
	const struct CMUnitTest own[] = {
	    cmocka_unit_test(the_first_event_in_a_slice_keeps_what_was_counted_before),
	    cmocka_unit_test(the_ring_holds_the_newest_and_stays_in_its_place),
	};
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(a_period_has_what_a_living_process_counted_in_it),
	    TEST(gauges_are_of_now_whatever_the_period),
	    TEST(what_the_ring_has_lost_counts_whole_and_is_said),
	    TEST(a_process_of_an_older_version_counts_whole_and_is_said),
	    TEST(slices_that_lie_or_are_too_many_are_not_used),
	    TEST(totals_know_when_the_dead_counted),
	    TEST(totals_forget_the_oldest_slice_and_say_so),
	    TEST(totals_without_slices_of_their_own_count_whole),
	};

	return cmocka_run_group_tests(own, make_directory, remove_directory) |
	       cmocka_run_group_tests(tests, NULL, NULL);
}
