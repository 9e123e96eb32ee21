/* SPDX-License-Identifier: MIT
 *
 * The rates at which the arms of an experiment opened connections, from the times of
 * their connections: with rings that hold all of them, and with rings that do not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/unit/saved_segment.h"
#include "tools/model/model.h"

#define MILLISECOND (SAVED_SECOND / 1000)

static struct saved saved;

/* A process that has two arms; 1,000 connections are in no ring. */
static void begin(void)
{
	static const char *const names[] = {"control", "treated"};

	saved_init(&saved, "/opt/bin/worker", NULL);
	saved_destination(&saved, saved_ipv4(7, 80));
	for (unsigned i = 0; i < 2; i++) {
		saved.arms[i].state = TWS_DESTINATION_READY;
		saved.arms[i].weight = 1;
		strcpy(saved.arms[i].experiment, "trial");
		strcpy(saved.arms[i].name, names[i]);
		saved.arms[i].counters.value[TWS_established] = 1000;
	}
	saved.header.section[TWS_SECTION_ARMS].used = 2;
}

static void connection(uint8_t arm, uint64_t began_ms, uint64_t ended_ms)
{
	struct tws_ended *ended =
	    saved_ended(&saved, 1, TWS_END_LOCAL_FIN, ended_ms * MILLISECOND);

	ended->began_ns = ended->established_ns = began_ms * MILLISECOND;
	ended->arm = arm;
}

static struct model *finish(void)
{
	struct model_options options = {0};
	struct model *model = model_new(&options);
	struct segment segment = saved_segment(&saved, PROCESS_ALIVE);

	assert_non_null(model);
	assert_int_equal(model_take(&segment, model), 0);
	assert_int_equal(model_finish(model), 0);
	assert_int_equal(model->arm_count, 2);
	return model;
}

static void assert_rates(const struct model *model, double seconds, uint64_t first,
			 uint64_t other)
{
	for (uint32_t i = 0; i < 2; i++)
		assert_true(model->arms[i].seconds >= seconds * 0.9999 &&
			    model->arms[i].seconds <= seconds * 1.0001);
	assert_int_equal(model->arms[0].opened, first);
	assert_int_equal(model->arms[1].opened, other);
}

static void an_experiment_lasts_from_its_first_connection_to_its_last(void **state)
{
	struct model *model;

	begin();
	connection(0, 1000, 1001); /* without an arm: before and after the experiment */
	for (uint64_t i = 0; i < 6; i++)
		connection(i % 3 ? 1 : 2, 10000 + 100 * i, 10001 + 100 * i);
	connection(0, 90000, 90001);
	model = finish();
	assert_rates(model, 0.6, 4, 2);
	model_free(model);
}

static void an_open_connection_counts_and_a_failed_one_does_not(void **state)
{
	struct tws_connection *slot;
	struct model *model;

	begin();
	connection(1, 10000, 10001);
	connection(2, 10100, 10101);
	connection(2, 10900, 10950);
	saved.ended[2].established_ns = 0;
	slot = saved_connection(&saved, TWS_CONN_OPEN, 5);
	slot->began_ns = 10200 * MILLISECOND;
	slot->arm = 1;
	saved_connection(&saved, TWS_CONN_CONNECTING, 6)->arm = 1;
	model = finish();
	assert_rates(model, 0.3, 2, 1);
	model_free(model);
}

static void a_ring_that_lost_some_tells_of_what_began_since_its_oldest(void **state)
{
	struct model *model;

	begin();
	for (uint64_t i = 0; i < SAVED_RING;
	     i++) /* the last one is the oldest that remains */
		connection(1, 10000 + 100 * i, 10150 + 100 * i);
	saved.header.ended_tickets = SAVED_RING + 5;
	for (unsigned i = 0; i < 5; i++)
		saved.ended[i].sequence += SAVED_RING;
	for (unsigned i = 0; i < 5; i++) {
		saved.ended[i].began_ns += 100 * SAVED_RING * MILLISECOND;
		saved.ended[i].ended_ns += 100 * SAVED_RING * MILLISECOND;
	}
	model = finish();
	/* The sixth and seventh began before the oldest, the sixth, ended. */
	assert_rates(model, 0.1 * (SAVED_RING - 2), SAVED_RING - 2, 0);
	model_free(model);
}

static void of_one_connection_and_of_none_there_is_no_rate(void **state)
{
	struct model *model;

	begin();
	model = finish();
	assert_rates(model, 0, 0, 0);
	model_free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_experiment_lasts_from_its_first_connection_to_its_last),
	    cmocka_unit_test(an_open_connection_counts_and_a_failed_one_does_not),
	    cmocka_unit_test(a_ring_that_lost_some_tells_of_what_began_since_its_oldest),
	    cmocka_unit_test(of_one_connection_and_of_none_there_is_no_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
