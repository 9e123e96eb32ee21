/* SPDX-License-Identifier: MIT
 *
 * The experiment `brownout`: what a connect() costs while TIME_WAIT fills the port
 * range, with the kernel's own search and with port_range = "full".
 */
#include "tools/lab/ports.h"

#define PORTS 8000
#define WIDTH "8000" /* the documentation: the range's size spreads the ports best */
#define RANGE "30000 37999"
#define STEPS 10

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct lab_column COLUMNS[] = {
    {"fill", "FILL OF THE RANGE", 0, false},
    {"default_p50_us", "AS IT IS p50 us", 0, false},
    {"default_p99_us", "p99", 0, false},
    {"full_p50_us", "port_range=full p50 us", 0, false},
    {"full_p99_us", "p99", 0, false},
    {"step_p50_us", LAB_STEP_WIDTH "=" WIDTH " p50 us", 0, true},
    {"step_p99_us", "p99", 0, true},
};

enum { DEFAULT, FULL, STEP };

static void put_latency(json_t *row, const struct lab_case *what, unsigned step,
			const char *p50, const char *p99)
{
	unsigned each = PORTS / STEPS, first = step * each;

	lab_put_real(row, p50, lab_connect_us(what, 0.5, first, each));
	lab_put_real(row, p99, lab_connect_us(what, 0.99, first, each));
}

static void add_fill_row(struct lab_table *table, const struct lab_case *cases,
			 size_t count, unsigned step)
{
	char name[32];
	json_t *row;

	snprintf(name, sizeof(name), "%u-%u %%", step * 100 / STEPS,
		 (step + 1) * 100 / STEPS);
	row = lab_row_new(table, name);
	put_latency(row, &cases[DEFAULT], step, "default_p50_us", "default_p99_us");
	put_latency(row, &cases[FULL], step, "full_p50_us", "full_p99_us");
	if (count > STEP)
		put_latency(row, &cases[STEP], step, "step_p50_us", "step_p99_us");
}

/* By what factor the last step is slower than the first, at p50. */
static double slowdown(const struct lab_case *what)
{
	unsigned each = PORTS / STEPS;
	double empty = lab_connect_us(what, 0.5, 0, each);

	return empty > 0 ? lab_connect_us(what, 0.5, PORTS - each, each) / empty : 0;
}

void lab_brownout_judge(struct lab_result *result, const struct lab_case *cases,
			size_t count)
{
	lab_say(result,
		"with %d ports, connect() is %.0f times slower in the last tenth of the "
		"range than in the first; ",
		PORTS, slowdown(&cases[DEFAULT]));
	if (cases[FULL].board->shim.value[TWS_policy_unsupported])
		lab_say(result, "this kernel has no IP_LOCAL_PORT_RANGE, so port_range = "
				"\"full\" changes nothing. ");
	else
		lab_say(result, "with port_range = \"full\" %.1f times. ",
			slowdown(&cases[FULL]));
	if (count > STEP)
		lab_say(result, "With " LAB_STEP_WIDTH " = " WIDTH " it is %.0f times.",
			slowdown(&cases[STEP]));
	else
		lab_say(result, LAB_NO_STEP_WIDTH);
}

size_t lab_brownout_cases(const struct host *host,
			  struct lab_case ret_cases[LAB_BROWNOUT_CASES])
{
	const struct lab_case what = {
	    .name = "as it is",
	    .world = {.sysctl = {{"ip_local_port_range", RANGE},
				 {"tcp_tw_reuse", "0"},
				 {"tcp_max_tw_buckets", "65536"}}},
	    .client = {.count = PORTS},
	    .patience_ms = 60000};

	for (size_t i = 0; i < LAB_BROWNOUT_CASES; i++)
		ret_cases[i] = what;
	ret_cases[FULL].name = "port_range = full";
	ret_cases[FULL].rule = "port_range=full,to=" LAB_ADDRESS;
	ret_cases[STEP].name = LAB_STEP_WIDTH;
	ret_cases[STEP].world.sysctl[3] = (struct lab_sysctl){LAB_STEP_WIDTH, WIDTH};
	return host_knows(host, HOST_port_step_width) ? LAB_BROWNOUT_CASES : STEP;
}

int lab_brownout(struct lab_bench *bench, struct lab_result *result)
{
	struct lab_case cases[LAB_BROWNOUT_CASES];
	struct lab_table *table;
	struct host host;
	size_t count;
	int ret;

	host_read(&host, NULL);
	count = lab_brownout_cases(&host, cases);
	ret = lab_run(bench, cases, count, 1, "brownout");
	for (size_t i = 0; ret == 0 && i < count; i++)
		lab_say_failure(result, &cases[i]);
	if (ret == 0 && !result->failed) {
		table = lab_table_new(result, "8,000 ports, one destination", COLUMNS,
				      COUNT(COLUMNS));
		for (unsigned step = 0; step < STEPS; step++)
			add_fill_row(table, cases, count, step);
		lab_brownout_judge(result, cases, count);
	}
	lab_cases_free(cases, count);
	return ret;
}
