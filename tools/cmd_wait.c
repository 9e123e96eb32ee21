/* SPDX-License-Identifier: MIT
 *
 * twshim wait: waits until the TIME_WAIT sockets to a destination have gone.
 */
#include "tools/commands.h"

#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/address.h"
#include "shim/shared/clock.h"
#include "shim/shared/match.h"
#include "tools/base/cli.h"
#include "tools/base/interrupt.h"
#include "tools/base/json.h"
#include "tools/kernel/kernel.h"
#include "tools/trace/trace.h"

#define LOOK_S 0.5 /* at most between two looks: sockets may come as well */

struct request {
	struct tws_target target;
	const char *to; /* as typed */
	uint64_t below;
	uint64_t timeout_ns; /* 0: none */
	bool json;
};

static int wait_take_target(const struct cli_option *option, void *field)
{
	struct request *request = field;
	struct tws_problem problem = {0};

	request->to = optarg;
	if (tws_target_parse(optarg, &request->target, &problem))
		return 0;
	return cli_fail(CLI_USAGE,
			"--%s %s: not a destination: write 10.0.0.7:6379, 10.0.0.0/8 or "
			"*:443",
			option->name, optarg);
}

static int wait_take_timeout(const struct cli_option *option, void *field)
{
	if (trace_parse_duration(optarg, field) == 0)
		return 0;
	return cli_fail(CLI_USAGE, "--%s %s: not a duration: write 90, 1.5s or 200ms",
			option->name, optarg);
}

static const struct cli_option OPTIONS[] = {
    {"to", 't', "DEST",
     "count the sockets to this destination: 10.0.0.7:6379,\n"
     "10.0.0.0/8, *:443; default: all",
     wait_take_target, .offset = 0},
    {"below", 0, "N", "until there are fewer than N (1)", cli_take_count,
     .offset = offsetof(struct request, below)},
    {"timeout", 0, "TIME", "give up after TIME: 90, 1.5s, 200ms; default: never",
     wait_take_timeout, .offset = offsetof(struct request, timeout_ns)},
    CLI_JSON(struct request, json, "wait/1"),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "wait",
    .operands = "",
    .summary = "Waits until fewer than N TIME_WAIT sockets to a destination are left in "
	       "this network\nnamespace: instead of sleep 60. Root is not needed.\n",
    .notes = "Exit status: 0 fewer than N are left, 1 not yet after TIME or when "
	     "interrupted, 2 usage.\n",
    .options = OPTIONS,
};

/* Counts the sockets. Returns 0, or -errno with a reason. */
static int wait_count(const struct request *request, uint64_t *ret_count, char *ret_error,
		      size_t size)
{
	struct kernel_table table;
	int result =
	    kernel_table_read(&table, KERNEL_STATE(TCP_TIME_WAIT), ret_error, size);

	if (result != 0)
		return result;
	*ret_count = 0;
	for (size_t i = 0; i < table.count; i++)
		*ret_count += !request->to || tws_match_target(&request->target,
							       &table.sockets[i].remote);
	kernel_table_free(&table);
	return 0;
}

static int wait_finish(const struct request *request, uint64_t count, double seconds,
		       bool interrupted)
{
	bool reached = count < request->below;

	if (request->json)
		print_json(stdout,
			   json_pack("{s:s, s:b, s:I, s:I, s:f}", "schema",
				     "twshim.wait/1", "reached", reached, "time_wait",
				     (json_int_t)count, "below",
				     (json_int_t)request->below, "seconds", seconds),
			   JSON_INDENT(1) | JSON_REAL_PRECISION(4));
	if (!reached)
		return cli_fail(CLI_FAILURE,
				"wait: %s after %.1f s: %llu TIME_WAIT sockets are left: "
				"twshim owners shows them",
				interrupted ? "interrupted" : "gave up", seconds,
				(unsigned long long)count);
	return cli_finish_output();
}

int cmd_wait(int argc, char **argv)
{
	struct request request = {.below = 1};
	int status = cli_read(&COMMAND, argc, argv, &request);
	double began = tws_now_s(), seconds, left;
	bool interrupted = false;
	char error[PRINT_ERROR_SIZE];
	uint64_t count;

	if (status != CLI_GO_ON)
		return status;
	interrupt_begin();
	for (;;) {
		if (wait_count(&request, &count, error, sizeof(error)) != 0)
			return cli_fail(CLI_FAILURE, "wait: %s", error);
		seconds = tws_now_s() - began;
		left = request.timeout_ns ? (double)request.timeout_ns / 1e9 - seconds
					  : LOOK_S;
		if (count < request.below || left <= 0 || interrupted)
			return wait_finish(&request, count, seconds, interrupted);
		interrupted = interrupt_wait(left < LOOK_S ? left : LOOK_S);
	}
}
