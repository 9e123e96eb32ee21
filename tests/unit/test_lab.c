/* SPDX-License-Identifier: MIT
 *
 * The cases of the laboratory that depend on the kernel. The running kernel may lack what
 * they try. So these tests show that the cases would be tried, and what the lab prints,
 * but not how they would run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/lab/ports.h"

#define FILE_NAME "sys/net/ipv4/" LAB_STEP_WIDTH

/* A host whose kernel has the sysctl, or not. */
static struct host fake_host(bool has_step_width)
{
	struct host host = {0};

	if (has_step_width)
		host_take(&host, FILE_NAME, "0\n");
	else
		host_take_error(&host, FILE_NAME, ENOENT);
	return host;
}

static const char *setting(const struct lab_case *what)
{
	for (size_t i = 0; i < LAB_SYSCTLS && what->world.sysctl[i].name; i++)
		if (strcmp(what->world.sysctl[i].name, LAB_STEP_WIDTH) == 0)
			return what->world.sysctl[i].value;
	return NULL;
}

static size_t count_settings(const struct lab_case *cases, size_t count)
{
	size_t ret = 0;

	for (size_t i = 0; i < count; i++)
		ret += setting(&cases[i]) != NULL;
	return ret;
}

/* Gives each case a board on which all connections were established in 10 us. */
static void run(struct lab_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned connections = cases[i].client.count;
		struct lab_board *board =
		    calloc(1, sizeof(*board) + connections * sizeof(*board->connection));

		assert_non_null(board);
		for (unsigned c = 0; c < connections; c++)
			board->connection[c].connect_ns = 10000;
		cases[i].board = board;
	}
}

static void finish(struct lab_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(cases[i].board);
}

static void the_step_width_is_tried_where_the_kernel_has_it(void **state)
{
	struct lab_case cases[LAB_PORTS_CASES];
	struct host with = fake_host(true), without = fake_host(false);
	struct lab_result result = {0};
	size_t count = lab_brownout_cases(&with, cases);

	assert_int_equal(count, LAB_BROWNOUT_CASES);
	assert_int_equal(count_settings(cases, count), 1);
	assert_string_equal(setting(&cases[count - 1]), "8000");
	assert_null(cases[count - 1].rule);
	run(cases, count);
	lab_brownout_judge(&result, cases, count);
	assert_non_null(
	    strstr(result.verdict, "With " LAB_STEP_WIDTH " = 8000 it is 1 times."));
	finish(cases, count);

	count = lab_ports_cases(&with, cases);
	assert_int_equal(count, lab_ports_cases(&without, cases) + 1);
	count = lab_ports_cases(&with, cases);
	assert_int_equal(count_settings(cases, count), 1);
	run(cases, count);
	result = (struct lab_result){0};
	lab_ports_judge(&result, cases, count);
	assert_non_null(strstr(result.verdict, "With " LAB_STEP_WIDTH " = 20: 60"));
	finish(cases, count);
}

static void where_it_is_missing_the_verdict_says_so(void **state)
{
	struct lab_case cases[LAB_PORTS_CASES];
	struct host without = fake_host(false);
	struct lab_result result = {0};
	size_t count = lab_brownout_cases(&without, cases);

	assert_int_equal(count_settings(cases, count), 0);
	run(cases, count);
	lab_brownout_judge(&result, cases, count);
	assert_non_null(strstr(result.verdict, LAB_NO_STEP_WIDTH));
	finish(cases, count);

	count = lab_ports_cases(&without, cases);
	assert_int_equal(count_settings(cases, count), 0);
	run(cases, count);
	result = (struct lab_result){0};
	lab_ports_judge(&result, cases, count);
	assert_non_null(strstr(result.verdict, LAB_NO_STEP_WIDTH));
	finish(cases, count);
}

/* Rows of one table follow one another. */
static void the_rows_of_a_table_stand_together(void **state)
{
	struct lab_case cases[LAB_PORTS_CASES];
	struct host with = fake_host(true);
	size_t count = lab_ports_cases(&with, cases), tables = 0;

	for (size_t i = 0; i < count; i++)
		tables += i == 0 || strcmp(cases[i].group, cases[i - 1].group) != 0;
	assert_int_equal(tables, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_step_width_is_tried_where_the_kernel_has_it),
	    cmocka_unit_test(where_it_is_missing_the_verdict_says_so),
	    cmocka_unit_test(the_rows_of_a_table_stand_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
