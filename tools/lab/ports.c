/* SPDX-License-Identifier: MIT
 *
 * The experiment `ports`: how many connections a small port range carries before the
 * kernel answers EADDRNOTAVAIL, and which advice changes that.
 */
#include <errno.h>
#include <string.h>

#include "tools/lab/ports.h"

#define TRIES 60
/* A connection keeps its port until its FIN is acknowledged, which may be delayed. */
#define BREATH	 10
#define APART_MS 1100 /* more than tcp_tw_reuse_delay */
#define TO	 ",to=" LAB_ADDRESS
#define BOUND	 LAB_CLIENT_BINDS
#define SMALL                                                                            \
	{                                                                                \
		"ip_local_port_range", LAB_TW_RANGE                                      \
	}
#define REUSE(on)                                                                        \
	{                                                                                \
		"tcp_tw_reuse", on                                                       \
	}
#define STAMPS(on)                                                                       \
	{                                                                                \
		"tcp_timestamps", on                                                     \
	}

#define ONE                                                                              \
	"20 ports, 60 connections to one destination, one after another, tcp_tw_reuse "  \
	"= 0"
#define THREE "the same ports, 20 connections to each of three destinations"
#define HERE  "tcp_tw_reuse, 127.0.0.1, 20 connections three times, 1.1 s apart"
#define THERE "tcp_tw_reuse, " LAB_ADDRESS ", 20 connections three times, 1.1 s apart"

#define STEP_WIDTH_NAME LAB_STEP_WIDTH " = 20"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct lab_column COLUMNS[] = {
    {"way", "WAY", 0, false},
    {"succeeded", "SUCCEED", 0, false},
    {"tried", "OF", 0, false},
    {"by_destination", "BY DESTINATION", 0, true},
    {"no_port", "NO PORT", 0, true},
    {"in_use", "IN USE", 0, true},
    {"time_wait", "TIME_WAIT", 0, false},
    {"syn_retransmitted", "SYN AGAIN", 0, true},
    {"policy", "POLICY", 0, true},
};

/* What distinguishes a row of the first two tables. */
static const struct row {
	const char *group, *name, *rule;
	unsigned flags, linger_seconds, server;
	const char *timestamps;
} ROWS[] = {
    {ONE, "as it is", NULL, 0, 0, 0, "1"},
    {ONE, "SO_REUSEADDR", NULL, LAB_CLIENT_REUSEADDR, 0, 0, "1"},
    {ONE, "reuseaddr = true", "reuseaddr=true" TO, 0, 0, 0, "1"},
    {ONE, "SO_LINGER {1,1}", NULL, LAB_CLIENT_LINGER, 1, 0, "1"},
    {ONE, "SO_LINGER {1,0}", NULL, LAB_CLIENT_LINGER, 0, 0, "1"},
    {ONE, "fin-reset", "close=fin-reset" TO, 0, 0, 0, "1"},
    {ONE, "the peer closes first", NULL, LAB_CLIENT_AWAITS_END, 0,
     LAB_SERVER_CLOSES_FIRST, "1"},
    {ONE, "port_range = full", "port_range=full" TO, 0, 0, 0, "1"},
    {ONE, "port_range, 5 of the 20", "port_range=40000-40004" TO, 0, 0, 0, "1"},
    {ONE, "port_ring", "port_ring=full" TO, 0, 0, 0, "1"},
    {ONE, "port_ring, no timestamps", "port_ring=full" TO, 0, 0, 0, "0"},
    {THREE, "as it is", NULL, 0, 0, 0, "1"},
    {THREE, "bind(address, 0) first", NULL, BOUND, 0, 0, "1"},
    {THREE, "same, SO_REUSEADDR", NULL, BOUND | LAB_CLIENT_REUSEADDR, 0, 0, "1"},
    {THREE, "same, late_bind", "late_bind=true", BOUND, 0, 0, "1"},
    {THREE, "port_range, 5 of the 20", "port_range=40000-40004" TO, 0, 0, 0, "1"},
};

static const char *const REUSES[] = {"0", "1", "2"};

_Static_assert(COUNT(ROWS) + 1 + 2 * 2 * COUNT(REUSES) <= LAB_PORTS_CASES,
	       "room for all");

static struct lab_case case_of_row(const struct row *row)
{
	bool three = strcmp(row->group, THREE) == 0;
	return (struct lab_case){
	    .name = row->name,
	    .group = row->group,
	    .world = {.sysctl = {SMALL, REUSE("0"), STAMPS(row->timestamps)}},
	    .server = {.flags = row->server, .ports = three ? 3 : 1},
	    .client = {.flags = row->flags,
		       .count = TRIES,
		       .linger_seconds = row->linger_seconds,
		       .per_pass = BREATH,
		       .per_destination = three ? LAB_TW_PORTS : 0},
	    .rule = row->rule,
	};
}

/* The first row again, with the ports of one parity tried in random steps. */
static struct lab_case case_of_step_width(void)
{
	struct lab_case ret = case_of_row(&ROWS[0]);

	ret.name = STEP_WIDTH_NAME;
	ret.world.sysctl[3] = (struct lab_sysctl){LAB_STEP_WIDTH, "20"};
	return ret;
}

static struct lab_case case_of_reuse(bool loopback, unsigned reuse, bool timestamps)
{
	static const char *const NAMES[2][3] = {
	    {"0, timestamps off", "1, timestamps off", "2, timestamps off"},
	    {"0, timestamps on", "1, timestamps on", "2, timestamps on"},
	};

	return (struct lab_case){
	    .name = NAMES[timestamps][reuse],
	    .group = loopback ? HERE : THERE,
	    .world = {.loopback = loopback,
		      .sysctl = {SMALL, REUSE(REUSES[reuse]),
				 STAMPS(timestamps ? "1" : "0")}},
	    /* It closes late, as a busy server does: the second counts from then on. */
	    .server = {.start_ms = 150, .tick_ms = 5},
	    .client = {.count = TRIES, .per_pass = LAB_TW_PORTS, .pause_ms = APART_MS},
	};
}

size_t lab_ports_cases(const struct host *host,
		       struct lab_case ret_cases[LAB_PORTS_CASES])
{
	bool has_step_width = host_knows(host, HOST_port_step_width);
	size_t count = 0;

	for (size_t i = 0; i < COUNT(ROWS); i++) {
		if (i && strcmp(ROWS[i].group, ROWS[i - 1].group) != 0 && has_step_width)
			ret_cases[count++] = case_of_step_width();
		ret_cases[count++] = case_of_row(&ROWS[i]);
	}
	for (int loopback = 1; loopback >= 0; loopback--)
		for (int timestamps = 1; timestamps >= 0; timestamps--)
			for (unsigned reuse = 0; reuse < COUNT(REUSES); reuse++)
				ret_cases[count++] =
				    case_of_reuse(loopback, reuse, timestamps);
	return count;
}

/* "20 / 0 / 0" */
static void put_destinations(json_t *row, const struct lab_case *what)
{
	unsigned each = what->client.per_destination;

	if (each)
		lab_put_text(row, "by_destination", "%u / %u / %u",
			     lab_count_errors(what, 0, 0, each),
			     lab_count_errors(what, 0, each, each),
			     lab_count_errors(what, 0, 2 * each, each));
}

static void add_ports_row(struct lab_table *table, const struct lab_case *what)
{
	json_t *row = lab_row_new(table, what->name);
	char text[200];

	lab_put_count(row, "succeeded", lab_count_established(what));
	lab_put_count(row, "tried", what->client.count);
	put_destinations(row, what);
	lab_put_count(row, "no_port",
		      lab_count_errors(what, EADDRNOTAVAIL, 0, what->client.count));
	lab_put_count(row, "in_use",
		      lab_count_errors(what, EADDRINUSE, 0, what->client.count));
	lab_put_count(row, "time_wait", what->board->time_wait.here);
	lab_put_count(row, "syn_retransmitted", what->board->kernel.syn_retransmitted);
	lab_put_text(row, "policy", "%s", lab_describe_policy(text, sizeof(text), what));
}

struct cases {
	const struct lab_case *list;
	size_t count;
};

static unsigned successes(const struct cases *cases, const char *group, const char *name)
{
	return lab_count_established(lab_find(cases->list, cases->count, group, name));
}

static void judge_step_width(struct lab_result *result, const struct cases *cases)
{
	if (lab_find(cases->list, cases->count, ONE, STEP_WIDTH_NAME))
		lab_say(result, " With " LAB_STEP_WIDTH " = 20: %u; it adds no ports.",
			successes(cases, ONE, STEP_WIDTH_NAME));
	else
		lab_say(result, " " LAB_NO_STEP_WIDTH);
}

void lab_ports_judge(struct lab_result *result, const struct lab_case *list, size_t count)
{
	const struct cases all = {list, count}, *cases = &all;

	lab_say(result,
		"%d ports carry %u connections a minute to one destination; with "
		"SO_REUSEADDR %u. ",
		LAB_TW_PORTS, successes(cases, ONE, "as it is"),
		successes(cases, ONE, "SO_REUSEADDR"));
	lab_say(result, "Of %d: fin-reset %u, port_ring %u, ", TRIES,
		successes(cases, ONE, "fin-reset"), successes(cases, ONE, "port_ring"));
	lab_say(result,
		"the peer closing first %u, tcp_tw_reuse=1 after a second %u (no "
		"timestamps: %u). ",
		successes(cases, ONE, "the peer closes first"),
		successes(cases, THERE, "1, timestamps on"),
		successes(cases, THERE, "1, timestamps off"));
	lab_say(result,
		"The default tcp_tw_reuse=2 works on 127/8 (%u) and nowhere else (%u). ",
		successes(cases, HERE, "2, timestamps on"),
		successes(cases, THERE, "2, timestamps on"));
	lab_say(result,
		"Bound before connect, three destinations share one pool (%u); late_bind "
		"gives each its own (%u).",
		successes(cases, THREE, "bind(address, 0) first"),
		successes(cases, THREE, "same, late_bind"));
	judge_step_width(result, cases);
}

int lab_ports(struct lab_bench *bench, struct lab_result *result)
{
	struct lab_case cases[LAB_PORTS_CASES];
	struct lab_table *table = NULL;
	struct host host;
	size_t count;
	int ret;

	host_read(&host, NULL);
	count = lab_ports_cases(&host, cases);
	ret = lab_run(bench, cases, count, 14, "ports");
	for (size_t i = 0; ret == 0 && i < count; i++) {
		if (i == 0 || strcmp(cases[i].group, cases[i - 1].group) != 0)
			table = lab_table_new(result, cases[i].group, COLUMNS,
					      COUNT(COLUMNS));
		if (!lab_say_failure(result, &cases[i]))
			add_ports_row(table, &cases[i]);
	}
	if (ret == 0 && !result->failed)
		lab_ports_judge(result, cases, count);
	lab_cases_free(cases, count);
	return ret;
}
