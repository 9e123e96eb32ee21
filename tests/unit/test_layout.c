/* SPDX-License-Identifier: MIT
 *
 * The segment as an ABI: which file is a segment, and what its numbers mean. Where each
 * field lies is tests/abi's business: it compares the layout with tests/abi.golden.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shim/shared/layout.h"
#include "shim/shared/segment.h"

/* The header of a small, valid segment. */
static struct tws_header good(void)
{
	static const uint32_t size[TWS_SECTIONS] = {sizeof(struct tws_counters),
						    sizeof(struct tws_connection),
						    sizeof(struct tws_destination),
						    sizeof(struct tws_arm),
						    sizeof(struct tws_rule_status),
						    sizeof(struct tws_ended),
						    sizeof(uint64_t),
						    sizeof(struct tws_folded)};
	struct tws_header ret = {.magic = TWS_MAGIC,
				 .byte_order = TWS_BYTE_ORDER,
				 .abi_major = TWS_ABI_MAJOR,
				 .abi_minor = TWS_ABI_MINOR,
				 .header_size = sizeof(struct tws_header),
				 .section_count = TWS_SECTIONS,
				 .state = TWS_SEGMENT_LIVE,
				 .exe = "/usr/bin/curl"};
	uint64_t end = 4096;

	for (unsigned i = 0; i < TWS_SECTIONS; i++) {
		ret.section[i] = (struct tws_section){
		    .offset = end, .element_size = size[i], .count = 2, .used = 1};
		end = (end + size[i] * 2 + 63) / 64 * 64;
	}
	ret.section[TWS_SECTION_PROCESS].count = 1;
	ret.size = end;
	return ret;
}

static const char *validate(const struct tws_header *header)
{
	return tws_segment_validate(header, sizeof(*header), header->size);
}

static void a_whole_header_is_a_segment(void **state)
{
	struct tws_header header = good();

	(void)state;
	assert_null(validate(&header));
}

static void every_damage_is_refused_with_a_reason(void **state)
{
	struct tws_header whole = good();

	(void)state;
#define DAMAGE(change)                                                                   \
	do {                                                                             \
		struct tws_header header = whole;                                        \
		change;                                                                  \
		if (!tws_segment_validate(&header, sizeof(header), whole.size))          \
			fail_msg("not refused: " #change);                               \
	} while (0)
	DAMAGE(header.magic++);
	DAMAGE(header.byte_order = 0x04030201);
	DAMAGE(header.abi_major++);
	DAMAGE(header.size++);
	DAMAGE(header.size--);
	DAMAGE(header.size = 0);
	DAMAGE(header.size = UINT64_MAX);
	DAMAGE(header.header_size = 0);
	DAMAGE(header.header_size = UINT32_MAX);
	DAMAGE(header.section_count = 0);
	DAMAGE(header.section_count = 1000);
	DAMAGE(header.state = 0);
	DAMAGE(header.state = 99);
	DAMAGE(memset(header.exe, 'x', sizeof(header.exe)));
	for (unsigned i = 0; i < TWS_SECTIONS; i++) {
		DAMAGE(header.section[i].offset = UINT64_MAX - 63);
		DAMAGE(header.section[i].used = header.section[i].count = 0;
		       header.section[i].offset = header.size + 64);
		DAMAGE(header.section[i].offset = 0);
		DAMAGE(header.section[i].offset += 1);
		DAMAGE(header.section[i].count = UINT32_MAX);
		DAMAGE(header.section[i].element_size = 0);
		DAMAGE(header.section[i].element_size++);
	}
	assert_non_null(tws_segment_validate(&whole, 0, whole.size));
	assert_non_null(tws_segment_validate(&whole, 8, whole.size));
	assert_non_null(tws_segment_validate(&whole, sizeof(whole) - 1, whole.size));
	assert_non_null(tws_segment_validate(&whole, sizeof(whole), whole.size - 64));
	assert_non_null(tws_segment_validate(&whole, sizeof(whole), 0));
}

/* Whatever the bytes are, nothing crashes, and accepted sections lie inside the file. */
static void mutated_headers_never_lead_outside_of_the_file(void **state)
{
	unsigned seed = (unsigned)time(NULL);
	const char *wanted = getenv("TWSHIM_TEST_SEED");

	(void)state;
	if (wanted)
		seed = (unsigned)atoi(wanted);
	print_message("seed %u\n", seed);
	for (int round = 0; round < 200000; round++) {
		struct tws_header header = good();
		uint64_t size = header.size;

		for (int i = rand_r(&seed) % 4; i >= 0; i--)
			((uint8_t *)&header)[(unsigned)rand_r(&seed) % 400] ^=
			    (uint8_t)(1u << rand_r(&seed) % 8);
		if (tws_segment_validate(&header, sizeof(header), size))
			continue;
		for (unsigned i = 0; i < TWS_SECTIONS; i++) {
			const struct tws_section *at = &header.section[i];

			assert_true(at->offset <= size);
			assert_true((uint64_t)at->count * at->element_size <=
				    size - at->offset);
		}
	}
}

/* Readers load the counters in this order: what a connection counts last comes first. */
static void endings_stand_before_establishments_before_attempts(void **state)
{
	(void)state;
	assert_true(TWS_ended_unseen < TWS_established);
	assert_true(TWS_established < TWS_failed_refused);
	assert_true(TWS_abandoned < TWS_attempts);
}

static void
each_value_is_under_its_buckets_bound_and_not_under_the_one_before(void **state)
{
	(void)state;
	for (unsigned id = 0; id < TWS_HISTOGRAMS; id++) {
		for (uint64_t value = 0; value < 200000; value++) {
			unsigned bucket = tws_histogram_bucket(id, value);
			uint64_t bound = tws_histogram_bound(id, bucket);

			assert_true(bucket < TWS_BUCKETS);
			assert_true(!bound || value < bound);
			assert_true(!bucket ||
				    value >= tws_histogram_bound(id, bucket - 1));
		}
		assert_int_equal(tws_histogram_bucket(id, UINT64_MAX), TWS_BUCKETS - 1);
		assert_int_equal(tws_histogram_bound(id, TWS_BUCKETS - 1), 0);
	}
}

static void every_ending_and_way_has_a_counter_of_its_own(void **state)
{
	uint64_t seen = 0;

	(void)state;
	for (int i = TWS_END_LOCAL_FIN; i <= TWS_END_UNSEEN; i++)
		seen |= 1ULL << tws_ending_counter(i);
	for (int i = TWS_VIA_CLOSE; i <= TWS_VIA_KILL; i++)
		seen |= 1ULL << tws_via_counter(i);
	assert_int_equal(__builtin_popcountll(seen), 8 + 8);
	assert_int_equal(tws_ending_counter(TWS_END_NONE), TWS_COUNTERS);
	assert_int_equal(tws_ending_counter((enum tws_ending)200), TWS_COUNTERS);
	assert_int_equal(tws_via_counter((enum tws_via)200), TWS_COUNTERS);
}

/* A process may go on with the segment of one that has another version of the shim. */
static void this_version_and_older_ones_find_their_word_at_the_end(void **state)
{
	const struct tws_segment_sizes small = {1, 1, 1, 1};
	struct tws_header layout = {0}, older;
	char *file;

	(void)state;
	tws_segment_lay_out(&layout, &small);
	file = calloc(1, layout.size);
	assert_non_null(file);
	tws_segment_begin((void *)file, &layout);
	older = layout;
	older.abi_minor = TWS_PROBE_MINOR - 1;
	assert_ptr_equal(tws_segment_probe(file, &layout),
			 file + layout.size - TWS_PROBE_ROOM);
	assert_ptr_equal(tws_segment_probe(file, &older), file + layout.size - 4);
	assert_int_equal(*tws_segment_probe(file, &layout), 8);
	assert_int_equal(*tws_segment_probe(file, &older), 8);
	assert_true(layout.slices.offset +
			layout.slices.count * sizeof(struct tws_slice) <=
		    layout.size - TWS_PROBE_ROOM);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_whole_header_is_a_segment),
	    cmocka_unit_test(every_damage_is_refused_with_a_reason),
	    cmocka_unit_test(mutated_headers_never_lead_outside_of_the_file),
	    cmocka_unit_test(endings_stand_before_establishments_before_attempts),
	    cmocka_unit_test(
		each_value_is_under_its_buckets_bound_and_not_under_the_one_before),
	    cmocka_unit_test(every_ending_and_way_has_a_counter_of_its_own),
	    cmocka_unit_test(this_version_and_older_ones_find_their_word_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
