/* SPDX-License-Identifier: MIT
 *
 * Differences between arms: known intervals, edges, and that a report on two equal arms
 * shows none in 95 of 100 reports. TEST_SEED=N repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/model/arms.h"
#include "tools/model/statistics.h"

#define REPORTS 2000
#define KILO	1000u

static uint64_t state;

/* splitmix64 */
static double uniform(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

static bool is_close(double a, double b, double by)
{
	return fabs(a - b) <= by;
}

/* -------------------------------------------------------- known numbers */

static void z_is_that_of_the_tables(void **unused)
{
	assert_true(is_close(statistics_z(0.95), 1.959964, 1e-5));
	assert_true(is_close(statistics_z(0.99), 2.575829, 1e-5));
	assert_true(is_close(statistics_confidence(0.95, 10), 0.995, 1e-9));
	assert_true(is_close(statistics_confidence(0.95, 0), 0.95, 1e-9));
}

static void shares_have_newcombes_interval(void **unused)
{
	/* Newcombe 1998, table II, case (a): 56/70 - 48/80: 0.0524 to 0.3339 */
	struct statistics_difference it = statistics_proportions(48, 80, 56, 70, 0.95);

	assert_true(is_close(it.difference, 0.2, 1e-9));
	assert_true(is_close(it.low, 0.0524, 1e-3));
	assert_true(is_close(it.high, 0.3339, 1e-3));
	assert_int_equal(it.verdict, STATISTICS_HIGHER);

	/* case (f): 10/10 - 0/20: 0.6791 to 1 */
	it = statistics_proportions(0, 20, 10, 10, 0.95);
	assert_true(is_close(it.low, 0.6791, 1e-3));
	assert_true(is_close(it.high, 1, 1e-9));
}

static void nothing_in_both_arms_is_no_difference(void **unused)
{
	struct statistics_difference it = statistics_proportions(0, 1000, 0, 1000, 0.95);

	assert_int_equal(it.verdict, STATISTICS_NO_DIFFERENCE);
	assert_true(it.low <= 0 && it.high >= 0 && it.high < 0.01);
	assert_int_equal(it.needed, 0);
}

static void an_empty_arm_is_too_few(void **unused)
{
	struct tws_histogram empty = {0};
	struct statistics_sum none = {0, 0, 0};

	assert_int_equal(statistics_proportions(0, 0, 1, 2, 0.95).verdict,
			 STATISTICS_TOO_FEW);
	assert_int_equal(statistics_rates(5, 1, 5, 0, 0.95).verdict, STATISTICS_TOO_FEW);
	assert_int_equal(statistics_means(&none, &none, 1, 0.95).verdict,
			 STATISTICS_TOO_FEW);
	assert_int_equal(statistics_quantiles(0, &empty, &empty, 0.5, 0.95).verdict,
			 STATISTICS_TOO_FEW);
	assert_true(statistics_quantile(0, &empty, 0.5) == 0);
}

static void a_part_beyond_its_whole_is_the_whole(void **unused)
{
	struct statistics_difference it = statistics_proportions(7, 5, 5, 5, 0.95);

	assert_true(it.first == 1 && it.difference == 0);
}

static void fin_reset_is_found_by_few_connections(void **unused)
{
	struct statistics_difference it = statistics_proportions(20, 20, 0, 20, 0.995);

	assert_int_equal(it.verdict, STATISTICS_LOWER);
}

static void as_many_as_needed_show_the_difference(void **unused)
{
	struct statistics_difference it =
	    statistics_proportions(50, 1000, 60, 1000, 0.95);
	uint64_t more = it.needed + KILO;

	assert_int_equal(it.verdict, STATISTICS_NO_DIFFERENCE);
	assert_true(it.needed > 2 * KILO && it.needed < 4 * KILO);
	it = statistics_proportions(more * 50 / KILO, more, more * 60 / KILO, more, 0.95);
	assert_true(it.low > -0.001);
	it = statistics_proportions(50, 1000, 50, 1000, 0.95);
	assert_int_equal(it.needed, 0);
}

/* ------------------------------------------------------------ histograms */

static void fill(struct tws_histogram *histogram, unsigned count, double times)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t value = (uint64_t)(times * 200 *
					    exp(sqrt(-2 * log(1 - uniform())) *
						cos(6.283185307 * uniform())));

		histogram->count[tws_histogram_bucket(
		    TWS_HISTOGRAM_connect_latency_seconds, value)]++;
	}
}

static void a_quantile_lies_in_its_bucket(void **unused)
{
	enum tws_histogram_id id = TWS_HISTOGRAM_connect_latency_seconds;
	struct tws_histogram histogram = {0};
	unsigned bucket = tws_histogram_bucket(id, 100);

	histogram.count[bucket] = 100;
	assert_true(statistics_quantile(id, &histogram, 0.5) <
		    (double)tws_histogram_bound(id, bucket));
	assert_true(statistics_quantile(id, &histogram, 0.5) >
		    (double)tws_histogram_bound(id, bucket - 1));
	assert_true(statistics_quantile(id, &histogram, 1) ==
		    (double)tws_histogram_bound(id, bucket));
	memset(&histogram, 0, sizeof(histogram));
	histogram.count[TWS_BUCKETS - 1] = 1;
	assert_true(statistics_quantile(id, &histogram, 0.5) >
		    (double)tws_histogram_bound(id, TWS_BUCKETS - 2));
}

static void a_doubled_latency_is_found(void **unused)
{
	struct tws_histogram first = {0}, other = {0};
	enum tws_histogram_id id = TWS_HISTOGRAM_connect_latency_seconds;
	struct statistics_difference it;

	fill(&first, 500, 1);
	fill(&other, 500, 2);
	it = statistics_quantiles(id, &first, &other, 0.5, 0.995);
	assert_int_equal(it.verdict, STATISTICS_HIGHER);
	assert_true(it.first > 150 && it.first < 260);
	it = statistics_quantiles(id, &first, &other, 0.99, 0.9999);
	assert_int_equal(it.verdict, STATISTICS_TOO_FEW);
}

/* -------------------------------------------------------------------- A/A */

struct world {
	unsigned connections;
	double failed, time_wait, peer_reset, discards;
};

static void add_connection(struct tws_counters *arm, const struct world *world)
{
	uint64_t *value = arm->value;

	value[TWS_attempts]++;
	if (uniform() < world->failed) {
		value[uniform() < 0.5 ? TWS_failed_refused : TWS_failed_no_port]++;
		return;
	}
	value[TWS_established]++;
	fill(&arm->histogram[TWS_HISTOGRAM_connect_latency_seconds], 1, 1);
	fill(&arm->histogram[TWS_HISTOGRAM_lifetime_seconds], 1, 50);
	if (uniform() < world->time_wait) {
		value[TWS_ended_local_fin]++;
	} else if (uniform() < world->peer_reset) {
		value[TWS_ended_reset_remote]++;
	} else {
		value[TWS_ended_reset_policy]++;
		if (uniform() < world->discards)
			value[TWS_bytes_discarded] += (uint64_t)(uniform() * 200000);
	}
}

/* Draws connections into two equal arms. True if a difference is shown. */
static bool shows_difference(const struct world *world)
{
	struct model_arm arms[2] = {{.weight = 1}, {.weight = 1}};
	struct arms_comparison comparison;

	for (unsigned i = 0; i < world->connections; i++)
		add_connection(&arms[uniform() < 0.5].counters, world);
	arms_compare(&arms[0], &arms[1], 1, 1, &comparison);
	for (unsigned i = 0; i < comparison.count; i++)
		if (comparison.line[i].difference.verdict == STATISTICS_LOWER ||
		    comparison.line[i].difference.verdict == STATISTICS_HIGHER)
			return true;
	return false;
}

/* Of reports of which each shows a difference with a chance of 0.05: more than this are
 * seen once in some thousand runs of the test. */
static double most_by_chance(unsigned reports)
{
	return reports * 0.05 + 3.5 * sqrt(reports * 0.05 * 0.95);
}

static void equal_arms_show_no_difference_in_95_of_100_reports(void **unused)
{
	static const struct world WORLDS[] = {
	    {60, 0.1, 0.5, 0.1, 0.1},	    {200, 0.01, 1, 0, 0},
	    {200, 0.3, 0.5, 0.2, 0.5},	    {1000, 0.02, 0.6, 0.02, 0.05},
	    {3000, 0.001, 0.9, 0.001, 0.3},
	};

	for (size_t i = 0; i < sizeof(WORLDS) / sizeof(*WORLDS); i++) {
		unsigned shown = 0,
			 reports = REPORTS * 200 / (200 + WORLDS[i].connections);

		for (unsigned k = 0; k < reports; k++)
			shown += shows_difference(&WORLDS[i]);
		printf("#   %u connections: %u of %u reports show a difference\n",
		       WORLDS[i].connections, shown, reports);
		assert_true(shown <= most_by_chance(reports));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(z_is_that_of_the_tables),
	    cmocka_unit_test(shares_have_newcombes_interval),
	    cmocka_unit_test(nothing_in_both_arms_is_no_difference),
	    cmocka_unit_test(an_empty_arm_is_too_few),
	    cmocka_unit_test(a_part_beyond_its_whole_is_the_whole),
	    cmocka_unit_test(fin_reset_is_found_by_few_connections),
	    cmocka_unit_test(as_many_as_needed_show_the_difference),
	    cmocka_unit_test(a_quantile_lies_in_its_bucket),
	    cmocka_unit_test(a_doubled_latency_is_found),
	    cmocka_unit_test(equal_arms_show_no_difference_in_95_of_100_reports),
	};
	const char *seed = getenv("TEST_SEED");

	state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
	printf("# TEST_SEED=%llu\n", (unsigned long long)state);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
