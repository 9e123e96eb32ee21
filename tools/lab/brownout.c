/* SPDX-License-Identifier: MIT
 *
 * The experiment `brownout`: what a connect() costs while TIME_WAIT fills the port
 * range, with the kernel's own search and with port_range = "full".
 */
#include <errno.h>

#include "tools/lab/result.h"

#define PORTS 8000
#define RANGE "30000 37999"
#define STEPS 10

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct lab_column COLUMNS[] = {
    {"fill", "FILL OF THE RANGE", 0, false},
    {"default_p50_us", "AS IT IS p50 us", 0, false},
    {"default_p99_us", "p99", 0, false},
    {"full_p50_us", "port_range=full p50 us", 0, false},
    {"full_p99_us", "p99", 0, false},
};

static void add_fill_row(struct lab_table *table, const struct lab_case cases[2],
			 unsigned step)
{
	unsigned each = PORTS / STEPS, first = step * each;
	char name[32];
	json_t *row;

	snprintf(name, sizeof(name), "%u-%u %%", step * 100 / STEPS,
		 (step + 1) * 100 / STEPS);
	row = lab_row_new(table, name);
	lab_put_real(row, "default_p50_us", lab_connect_us(&cases[0], 0.5, first, each));
	lab_put_real(row, "default_p99_us", lab_connect_us(&cases[0], 0.99, first, each));
	lab_put_real(row, "full_p50_us", lab_connect_us(&cases[1], 0.5, first, each));
	lab_put_real(row, "full_p99_us", lab_connect_us(&cases[1], 0.99, first, each));
}

/* By what factor the last step is slower than the first, at p50. */
static double slowdown(const struct lab_case *what)
{
	unsigned each = PORTS / STEPS;
	double empty = lab_connect_us(what, 0.5, 0, each);

	return empty > 0 ? lab_connect_us(what, 0.5, PORTS - each, each) / empty : 0;
}

static void judge_brownout(struct lab_result *result, const struct lab_case cases[2])
{
	lab_say(result,
		"with %d ports, connect() is %.0f times slower in the last tenth of the "
		"range than in the first; ",
		PORTS, slowdown(&cases[0]));
	if (cases[1].board->shim.value[TWS_policy_unsupported])
		lab_say(result, "this kernel has no IP_LOCAL_PORT_RANGE, so port_range = "
				"\"full\" changes nothing.");
	else
		lab_say(result, "with port_range = \"full\" %.1f times.",
			slowdown(&cases[1]));
}

int lab_brownout(struct lab_bench *bench, struct lab_result *result)
{
	static const struct lab_world WORLD = {
	    .sysctl = {{"ip_local_port_range", RANGE},
		       {"tcp_tw_reuse", "0"},
		       {"tcp_max_tw_buckets", "65536"}}};
	struct lab_case cases[] = {
	    {.name = "as it is",
	     .world = WORLD,
	     .client = {.count = PORTS},
	     .patience_ms = 60000},
	    {.name = "port_range = full",
	     .world = WORLD,
	     .client = {.count = PORTS},
	     .rule = "port_range=full,to=" LAB_ADDRESS,
	     .patience_ms = 60000},
	};
	struct lab_table *table;
	int ret = lab_run(bench, cases, COUNT(cases), 1, "brownout");

	if (ret == 0 && !lab_say_failure(result, &cases[0]) &&
	    !lab_say_failure(result, &cases[1])) {
		table = lab_table_new(result, "8,000 ports, one destination", COLUMNS,
				      COUNT(COLUMNS));
		for (unsigned step = 0; step < STEPS; step++)
			add_fill_row(table, cases, step);
		judge_brownout(result, cases);
	}
	lab_cases_free(cases, COUNT(cases));
	return ret;
}
