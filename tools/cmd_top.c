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
#include "tools/segments/cache.h"
#include "tools/top/top.h"

#define BATCH_WIDTH 132

enum {
	OPTION_BATCH,
	OPTION_NUMBER,
	OPTION_DELAY,
	OPTION_BY,
	OPTION_SORT,
	OPTION_FILTER,
	OPTION_JSON,
	OPTION_COLOR,
	OPTION_DIR
};

static const struct cli_option OPTIONS[] = {
    [OPTION_BATCH] = {"batch", 'b', NULL, "print text, one screen after another"},
    [OPTION_NUMBER] = {"iterations", 'n', "N", "end after N screens (batch only)"},
    [OPTION_DELAY] = {"delay", 'd', "SECONDS", "seconds between updates (1)"},
    [OPTION_BY] = {"by", 0, "WHAT", "application (default), process, destination"},
    [OPTION_SORT] = {"sort", 0, "ORDER",
		     "time-wait (default), rate, open, opened, ports, name"},
    [OPTION_FILTER] = {"filter", 0, "TEXT",
		       "only applications and destinations that contain TEXT"},
    [OPTION_JSON] = {"json", 0, NULL,
		     "with --batch: one object per line, schema twshim.top/1"},
    [OPTION_COLOR] = {"color", 0, "WHEN",
		      "auto (default), always, never: rows are yellow above 50 % of the\n"
		      "ports, red above 80 %"},
    [OPTION_DIR] = {"dir", 0, "DIR", "read this run-time directory"},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "top",
    .operands = "",
    .summary = "Shows each second who opens connections and what they leave behind, by "
	       "application,\nprocess or destination. Press h to see the keys.\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

struct request {
	bool batch, json;
	unsigned long number; /* 0: no end */
	double delay;
	enum print_color color;
	struct top top;
	struct top_view view;
};

/* The place of a word in a list; -1 with a complaint. */
static int word(const char *option, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(words[i], optarg) == 0)
			return i;
	return cli_fail(-1, "--%s %s: unknown word: see twshim top --help", option,
			optarg);
}

static int set_numbers(struct request *request, int option)
{
	char *rest;

	errno = 0;
	if (option == OPTION_NUMBER)
		request->number = strtoul(optarg, &rest, 10);
	else
		request->delay = strtod(optarg, &rest);
	if (*optarg < '0' || *optarg > '9' || *rest || errno ||
	    (option == OPTION_NUMBER && !request->number) ||
	    !(request->delay >= 0.1 && request->delay <= 3600))
		return cli_fail(CLI_USAGE,
				"--%s %s: not a valid number: see twshim top --help",
				OPTIONS[option].name, optarg);
	return 0;
}

static int set_option(void *data, int option)
{
	struct request *request = data;
	int place = 0;

	switch (option) {
	case OPTION_BATCH:
		request->batch = true;
		return 0;
	case OPTION_JSON:
		request->json = true;
		return 0;
	case OPTION_BY:
		place = word("by", top_mode_names, TOP_MODES);
		request->view.mode = (enum top_mode)(place < 0 ? 0 : place);
		return place < 0 ? CLI_USAGE : 0;
	case OPTION_SORT:
		place = word("sort", top_sort_names, TOP_SORTS);
		request->view.sort = (enum top_sort)(place < 0 ? 0 : place);
		return place < 0 ? CLI_USAGE : 0;
	case OPTION_FILTER:
		snprintf(request->view.filter, sizeof(request->view.filter), "%s",
			 optarg);
		return 0;
	case OPTION_COLOR:
		if (print_color_parse(optarg, &request->color) == 0)
			return 0;
		return cli_fail(CLI_USAGE, "--color %s: must be auto, always or never",
				optarg);
	case OPTION_DIR:
		return cli_take_dir(&request->top.dir);
	default:
		return set_numbers(request, option);
	}
}

/* CLI_GO_ON, or the exit status. */
static int read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, set_option, request);

	if (status == CLI_GO_ON)
		status = cli_no_operand(&COMMAND, argc, argv);
	if (status != CLI_GO_ON)
		return status;
	if (request->json && !request->batch)
		return cli_fail(CLI_USAGE, "top: --json: only with --batch");
	if (!request->batch && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		return cli_fail(CLI_USAGE,
				"top: standard output is not a terminal: use --batch");
	return CLI_GO_ON;
}

static void print_text(const struct request *request)
{
	char line[TOP_LINE_SIZE];
	const struct top *top = &request->top;

	printf("%s\n", top_summary(line, top));
	printf("%s\n", top_titles(line, &request->view, BATCH_WIDTH));
	for (size_t i = 0; i < top->count; i++)
		printf("%s\n",
		       top_line(line, &top->rows[i], &request->view, BATCH_WIDTH, true));
	putchar('\n');
}

static int run_batch(struct request *request)
{
	struct timespec pause = {.tv_sec = (time_t)request->delay};
	int status = 0;

	pause.tv_nsec = (long)((request->delay - (double)pause.tv_sec) * 1e9);
	for (unsigned long i = 0; !request->number || i < request->number; i++) {
		if (i)
			nanosleep(&pause, NULL);
		if (top_look(&request->top, &request->view) != 0)
			return cli_fail(CLI_FAILURE, "top: %s", strerror(ENOMEM));
		if (request->json)
			top_print_json(stdout, &request->top, &request->view);
		else
			print_text(request);
		status = cli_finish_output();
		if (status != 0)
			break;
	}
	return status;
}

int cmd_top(int argc, char **argv)
{
	struct request request = {.delay = 1};
	int status = read_options(&request, argc, argv);

	if (status >= 0)
		return status;
	request.top.cache = reader_cache_new();
	if (request.batch)
		status = run_batch(&request);
	else
		status =
		    top_screen(&request.top, &request.view, request.delay, request.color);
	top_free(&request.top);
	return status;
}
