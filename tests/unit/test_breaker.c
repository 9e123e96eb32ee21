/* SPDX-License-Identifier: MIT
 *
 * The breaker of a rule: when it stops, and how many resets it lets through per second.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "shim/shared/breaker.h"

#define RULE 3

static struct tws_rule_status limited(struct tws_action limits)
{
	tws_breaker_set_limits(RULE, &limits);
	return (struct tws_rule_status){.stopped = TWS_STOP_NONE};
}

static void match(struct tws_rule_status *status, int times)
{
	for (int i = 0; i < times; i++)
		tws_breaker_matched(status);
}

static void a_rule_without_limits_never_stops(void **state)
{
	struct tws_rule_status status = limited((struct tws_action){0});

	(void)state;
	match(&status, 100);
	for (int i = 0; i < 100; i++) {
		tws_breaker_failed(&status, RULE);
		tws_breaker_peer_reset(&status, RULE);
		tws_breaker_discarded(&status, RULE, 1000);
	}
	assert_true(tws_breaker_matched(&status));
	assert_int_equal(status.matched, 101);
	assert_int_equal(status.bytes_discarded, 100000);
}

static void a_share_of_failures_counts_only_after_enough_connections(void **state)
{
	struct tws_rule_status status =
	    limited((struct tws_action){.stop_failed_ppm = 100000});

	(void)state;
	match(&status, 19);
	tws_breaker_failed(&status, RULE);
	tws_breaker_failed(&status, RULE);
	assert_true(tws_breaker_matched(&status));
	assert_int_equal(status.stopped, TWS_STOP_NONE); /* 2 of 20 is not over 10 % */
	tws_breaker_failed(&status, RULE);
	assert_int_equal(status.stopped, TWS_STOP_FAILED_SHARE);
	assert_false(tws_breaker_matched(&status));
}

static void resets_by_peers_are_a_share_of_what_did_not_fail(void **state)
{
	struct tws_rule_status status =
	    limited((struct tws_action){.stop_peer_reset_ppm = 100000});

	(void)state;
	match(&status, 40);
	for (int i = 0; i < 10; i++)
		tws_breaker_failed(&status, RULE);
	for (int i = 0; i < 3; i++)
		tws_breaker_peer_reset(&status, RULE);
	assert_int_equal(status.stopped, TWS_STOP_NONE); /* 3 of 30 */
	tws_breaker_peer_reset(&status, RULE);
	assert_int_equal(status.stopped, TWS_STOP_PEER_RESET_SHARE);
}

static void discarded_bytes_stop_a_rule_beyond_their_bound(void **state)
{
	struct tws_rule_status status =
	    limited((struct tws_action){.stop_bytes_discarded = 1000});

	(void)state;
	tws_breaker_discarded(&status, RULE, 1000);
	assert_int_equal(status.stopped, TWS_STOP_NONE);
	tws_breaker_discarded(&status, RULE, 1);
	assert_int_equal(status.stopped, TWS_STOP_BYTES_DISCARDED);
	assert_false(tws_breaker_may_reset(&status, RULE));
}

/* The second may change while this runs, so that twice the cap is the most. */
static void resets_are_capped_by_the_second(void **state)
{
	struct tws_rule_status status =
	    limited((struct tws_action){.max_resets_per_second = 10});
	int allowed = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		allowed += tws_breaker_may_reset(&status, RULE);
	assert_in_range(allowed, 10, 20);
	assert_int_equal(status.resets, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_rule_without_limits_never_stops),
	    cmocka_unit_test(a_share_of_failures_counts_only_after_enough_connections),
	    cmocka_unit_test(resets_by_peers_are_a_share_of_what_did_not_fail),
	    cmocka_unit_test(discarded_bytes_stop_a_rule_beyond_their_bound),
	    cmocka_unit_test(resets_are_capped_by_the_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
