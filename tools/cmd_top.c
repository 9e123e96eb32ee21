/* SPDX-License-Identifier: MIT
 *
 * twshim top: the live view, on a terminal or as text.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/base/interrupt.h"
#include "tools/policy/since.h"
#include "tools/segments/cache.h"
#include "tools/segments/dir_option.h"
#include "tools/top/top.h"

#define BATCH_WIDTH 132

struct request {
	bool batch, json;
	uint64_t number; /* 0: no end */
	double delay;
	int by; /* index in top_by_words */
	const char *since;
	enum print_color color;
	struct top top;
	struct top_view view;
};

static int top_take_delay(const struct cli_option *option, void *field)
{
	char *rest;
	double delay = strtod(optarg, &rest);

	if (*optarg < '0' || *optarg > '9' || *rest || !(delay >= 0.1 && delay <= 3600))
		return cli_fail(CLI_USAGE, "--%s %s: must be from 0.1 to 3600 seconds",
				option->name, optarg);
	*(double *)field = delay;
	return 0;
}

static int top_take_filter(const struct cli_option *option, void *field)
{
	struct top_view *view = field;

	snprintf(view->filter, sizeof(view->filter), "%s", optarg);
	return 0;
}

/* The modes, then what applications can be grouped by, as in model_by_words. */
static const char *const top_by_words[] = {"application", "process", "destination",
					   "app",	  "exe",     "unit",
					   "container",	  "user",    NULL};

static void use_by(struct request *request)
{
	if (request->by < TOP_MODES)
		request->view.mode = (enum top_mode)request->by;
	else
		request->top.by = request->by - TOP_MODES;
}

static const struct cli_option OPTIONS[] = {
    {"batch", 'b', NULL, "text, one screen after the other", cli_take_flag,
     .offset = offsetof(struct request, batch)},
    {"iterations", 'n', "N", "end after N screens (batch only)", cli_take_count,
     .offset = offsetof(struct request, number)},
    {"delay", 'd', "SECONDS", "between two looks (1)", top_take_delay,
     .offset = offsetof(struct request, delay)},
    {"by", 0, "WHAT",
     "application (default), process, destination; exe, unit,\n"
     "container, user",
     cli_take_choice, .offset = offsetof(struct request, by), .words = top_by_words},
    {"sort", 0, "ORDER", "time-wait (default), rate, open, opened, ports, name",
     cli_take_choice, .offset = offsetof(struct request, view.sort),
     .words = top_sort_names},
    SINCE_OPTION(struct request, since),
    {"filter", 0, "TEXT", "only applications and destinations that contain it",
     top_take_filter, .offset = offsetof(struct request, view)},
    {"json", 0, NULL, "with --batch: one object per line, schema twshim.top/1",
     cli_take_flag, .offset = offsetof(struct request, json)},
    {"color", 0, "WHEN",
     "auto (default), always, never: yellow from half of the ports,\n"
     "red from 80 %",
     cli_take_color, .offset = offsetof(struct request, color)},
    DIR_OPTION(struct request, top.dir),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "top",
    .operands = "",
    .summary = "Shows who opens connections now and what they leave: by application, "
	       "process or\ndestination, each second. Press h in it to see the keys.\n",
    .options = OPTIONS,
};

/* CLI_GO_ON, or the exit status. */
static int top_read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, request);
	char error[PRINT_ERROR_SIZE];

	if (status != CLI_GO_ON)
		return status;
	if (request->json && !request->batch)
		return cli_fail(CLI_USAGE,
				"top: --json: works only with --batch: add it");
	use_by(request);
	if (since_find(request->since, request->top.dir, &request->top.since_ns, error,
		       sizeof(error)) != 0)
		return cli_fail(CLI_USAGE, "top: %s", error);
	if (!request->batch && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		return cli_fail(CLI_USAGE, "top: not on a terminal: use --batch");
	return CLI_GO_ON;
}

static void top_print_text(const struct request *request)
{
	char line[TOP_LINE_SIZE];
	const struct top *top = &request->top;

	printf("%s\n", top_summary(line, top));
	printf("%s\n", top_titles(line, &request->view, BATCH_WIDTH));
	for (size_t i = 0; i < top->count; i++)
		printf("%s\n",
		       top_line(line, &top->rows[i], &request->view, BATCH_WIDTH, true));
	fputs(top->storms, stdout);
	putchar('\n');
}

static int top_run_batch(struct request *request)
{
	int status = 0;

	interrupt_begin();
	for (uint64_t i = 0; !request->number || i < request->number; i++) {
		if (i && interrupt_wait(request->delay))
			break;
		if (top_look(&request->top, &request->view) != 0)
			return cli_fail(CLI_FAILURE, "top: %s", strerror(ENOMEM));
		if (request->json)
			top_print_json(stdout, &request->top, &request->view);
		else
			top_print_text(request);
		status = cli_finish_output();
		if (status != 0)
			break;
	}
	return status;
}

int cmd_top(int argc, char **argv)
{
	struct request request = {.delay = 1};
	int status = top_read_options(&request, argc, argv);

	if (status >= 0)
		return status;
	request.top.cache = reader_cache_new();
	if (request.batch)
		status = top_run_batch(&request);
	else
		status =
		    top_screen(&request.top, &request.view, request.delay, request.color);
	top_free(&request.top);
	return status;
}
