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
#include "tools/segments/dir_option.h"
#include "tools/web/web.h"
#include "tools/web/deadline.h"

static int serve_take_listen(const struct cli_option *option, void *field)
{
	struct tws_problem problem;

	if (tws_address_parse(optarg, field, &problem))
		return 0;
	return cli_fail(CLI_USAGE,
			"--%s %s: not an address and port: write 127.0.0.1:9464 or "
			"[::1]:9464",
			option->name, optarg);
}

static const struct cli_option OPTIONS[] = {
    {"listen", 'l', "ADDRESS:PORT",
     "where (127.0.0.1:9464). There is no authentication: anyone\n"
     "who can connect can read",
     serve_take_listen, .offset = offsetof(struct web_options, listen)},
    METRICS_OPTIONS(struct web_options, metrics),
    DIR_OPTION(struct web_options, metrics.dir),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "serve",
    .operands = "",
    .summary = "Serves what is known, read-only, until interrupted: / is a live page, "
	       "/metrics is for\nPrometheus (text and OpenMetrics), /api/report, "
	       "/api/owners and /api/doctor are JSON,\n/healthz answers while it runs. "
	       "It does nothing while nobody asks.\n",
    .options = OPTIONS,
};

int cmd_serve(int argc, char **argv)
{
	struct web_options options = {
	    .listen = {.bytes = {127, 0, 0, 1}, .port = 9464, .family = TWS_IPV4},
	    .metrics = {.top = METRICS_TOP, .series = METRICS_SERIES}};
	int status = cli_read(&COMMAND, argc, argv, &options);
	char where[PRINT_ADDRESS_SIZE], error[PRINT_ERROR_SIZE];
	struct web *web;
	const struct timespec pause = {.tv_sec = 5};
	sigset_t ends;

	if (status != CLI_GO_ON)
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
