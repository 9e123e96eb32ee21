/* SPDX-License-Identifier: MIT
 *
 * twshim serve: a live page, metrics for Prometheus, JSON.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "config/address.h"
#include "tools/base/cli.h"
#include "tools/base/memory.h"
#include "tools/base/print.h"
#include "tools/web/web.h"
#include "tools/web/deadline.h"

enum { OPTION_LISTEN, OPTION_TOP, OPTION_MAX_SERIES, OPTION_DIR };

static const struct cli_option OPTIONS[] = {
    [OPTION_LISTEN] = {"listen", 'l', "ADDRESS:PORT",
		       "where to listen (127.0.0.1:9464). No authentication: anyone who\n"
		       "can connect can read"},
    [OPTION_TOP] = {"top", 0, "N",
		    "destinations per application with series of their own\n"
		    "(20); the rest is to=\"other\""},
    [OPTION_MAX_SERIES] = {"max-series", 0, "N",
			   "most series in total (10000); those left out are counted"},
    [OPTION_DIR] = {"dir", 0, "DIR", "read this run-time directory"},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "serve",
    .operands = "",
    .summary = "Serves HTTP, read-only, until interrupted: / is a live page, /metrics "
	       "is for Prometheus\n(text and OpenMetrics), /api/report, /api/owners and "
	       "/api/doctor are JSON, and there\nis /healthz. Uses no CPU while nobody "
	       "asks.\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

static int set_option(void *data, int option)
{
	struct web_options *options = data;
	struct tws_problem problem;

	switch (option) {
	case OPTION_LISTEN:
		if (tws_address_parse(optarg, &options->listen, &problem))
			return 0;
		return cli_fail(
		    CLI_USAGE,
		    "--listen %s: not an address and port: write 127.0.0.1:9464 "
		    "or [::1]:9464",
		    optarg);
	case OPTION_TOP:
		return cli_take_number("top", &options->metrics.top, LEDGER_DESTINATIONS);
	case OPTION_MAX_SERIES:
		return cli_take_number("max-series", &options->metrics.series, 1000000);
	default:
		return cli_take_dir(&options->metrics.dir);
	}
}

static int read_options(struct web_options *options, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, set_option, options);

	return status == CLI_GO_ON ? cli_no_operand(&COMMAND, argc, argv) : status;
}

int cmd_serve(int argc, char **argv)
{
	struct web_options options = {
	    .listen = {.bytes = {127, 0, 0, 1}, .port = 9464, .family = TWS_IPV4},
	    .metrics = {.top = METRICS_TOP, .series = METRICS_SERIES}};
	int status = read_options(&options, argc, argv);
	char where[PRINT_ADDRESS_SIZE], error[PRINT_ERROR_SIZE];
	struct web *web;
	const struct timespec pause = {.tv_sec = 5};
	sigset_t ends;

	if (status >= 0)
		return status;
	memory_prefer_huge_pages();
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL); /* of the server's thread as well */
	if (web_start(&web, &options, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "serve: %s", error);
	printf("http://%s/\n", print_address(where, &options.listen));
	status = cli_finish_output();
	while (status == 0 && sigtimedwait(&ends, NULL, &pause) < 0)
		web_deadline_look();
	web_stop(web);
	return status;
}
