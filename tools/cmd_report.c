/* SPDX-License-Identifier: MIT
 *
 * twshim report: prints what is known now.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "shim/shared/rundir.h"
#include "tools/base/cli.h"
#include "tools/base/memory.h"
#include "tools/base/output.h"
#include "tools/model/group.h"
#include "tools/policy/since.h"
#include "tools/report/diff.h"
#include "tools/report/report.h"
#include "tools/segments/dir_option.h"

struct request {
	uint8_t run[TWS_RUN_SIZE];
	struct report_options options;
	const char *page;  /* NULL: none */
	const char *diff;  /* an older report to compare with; NULL: none */
	const char *since; /* NULL: not given */
};

static int report_take_run(const struct cli_option *option, void *field)
{
	if (tws_run_parse(optarg, field))
		return 0;
	return cli_fail(CLI_USAGE,
			"report: --run %s: not the tag of a run: give the 32 digits that "
			"twshim run --keep printed",
			optarg);
}

static const struct cli_option OPTIONS[] = {
    CLI_JSON(struct request, options.json, "report/1"),
    {"html", 0, "FILE",
     "instead of text: one page that needs nothing else, for a\n"
     "browser or a ticket; -: standard output. With --json, both\n"
     "are written",
     cli_take_text, .offset = offsetof(struct request, page)},
    MODEL_BY_OPTION(struct request, options.by),
    {"diff", 0, "OLD.json",
     "instead: what has changed since this report, which --json\n"
     "or run --json wrote; with --json: schema twshim.diff/1",
     cli_take_text, .offset = offsetof(struct request, diff)},
    SINCE_OPTION(struct request, since),
    DIR_OPTION(struct request, options.dir),
    {"run", 0, "TAG", "only the processes of this run; twshim run --keep prints its tag",
     report_take_run, .offset = offsetof(struct request, run)},
    CLI_COLOR(struct request, options.color),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "report",
    .operands = "[APPLICATION|PID]",
    .summary = "Shows which programs opened connections to where in the last hour, who "
	       "closed them\nfirst, and which TIME_WAIT sockets they left. About all "
	       "applications, one (its name or\npath), or one process.\n",
    .options = OPTIONS,
    .most_operands = 1,
};

/* A run is shown whole: it is a period of its own. CLI_GO_ON, or the exit status. */
static int report_find_since(struct request *request)
{
	char error[PRINT_ERROR_SIZE];
	const char *since = request->since;

	if (!since && request->options.run_tag)
		since = "all";
	return since_find(since, request->options.dir, &request->options.since_ns, error,
			  sizeof(error)) == 0
		   ? CLI_GO_ON
		   : cli_fail(CLI_USAGE, "report: %s", error);
}

/* CLI_GO_ON, or the exit status. */
static int report_read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, request);

	if (status != CLI_GO_ON)
		return status;
	if (tws_run_is_set(request->run))
		request->options.run_tag = request->run;
	status = report_find_since(request);
	if (status != CLI_GO_ON)
		return status;
	if (optind < argc && !cli_is_pid(argv[optind], &request->options.pid))
		request->options.app = argv[optind];
	if (request->page && request->options.json && strcmp(request->page, "-") == 0)
		return cli_fail(CLI_USAGE,
				"report: --html -: --json goes to standard output: name "
				"a file for the page");
	return CLI_GO_ON;
}

static int report_write(FILE *out, struct report_options *options)
{
	char error[PRINT_ERROR_SIZE];

	if (report_print(out, options, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	return cli_finish_output();
}

/* The report of now as JSON. A new reference; NULL, with a reason. */
static json_t *report_as_json(struct report_options *options, char *ret_error,
			      size_t size)
{
	char *text = NULL;
	size_t length = 0;
	FILE *memory = open_memstream(&text, &length);
	json_t *report = NULL;
	int result = memory ? 0 : -ENOMEM;

	options->json = true;
	if (memory) {
		result = report_print(memory, options, ret_error, size);
		fclose(memory);
	}
	if (result == 0)
		report = json_loadb(text, length, 0, NULL);
	if (result == 0 && !report)
		snprintf(ret_error, size, "report: %s", strerror(ENOMEM));
	free(text);
	return report;
}

static int report_write_diff(const char *path, struct report_options *options)
{
	char error[PRINT_ERROR_SIZE];
	bool as_json = options->json;
	json_t *before = diff_read(path, error, sizeof(error)), *after, *diff;

	if (!before)
		return cli_fail(CLI_FAILURE, "report: --diff %s", error);
	after = report_as_json(options, error, sizeof(error));
	if (!after) {
		json_decref(before);
		return cli_fail(CLI_FAILURE, "%s", error);
	}
	diff = diff_reports(before, after);
	json_decref(before);
	json_decref(after);
	if (!diff)
		return cli_fail(CLI_FAILURE, "report: %s", strerror(ENOMEM));
	if (as_json)
		return print_json(stdout, diff, JSON_INDENT(1)) == 0 ? cli_finish_output()
								     : CLI_FAILURE;
	diff_print(stdout, diff);
	json_decref(diff);
	return cli_finish_output();
}

static int report_fail_page(const char *path, int result)
{
	return cli_fail(CLI_FAILURE,
			"%s: the page can't be written: %s: name a file (--html) that "
			"you may write, in a directory that exists",
			path, strerror(-result));
}

/* Writes the page, and if it is wanted too, the JSON of the same moment. */
static int report_write_page(const char *path, struct report_options *options)
{
	struct output page;
	int result, status;

	/* If the reader of the JSON leaves, no temporary file must stay. */
	signal(SIGPIPE, SIG_IGN);
	result = output_open(&page, path);

	if (result != 0)
		return report_fail_page(path, result);
	options->page = page.file;
	status = report_write(options->json ? stdout : NULL, options);
	if (status == 0)
		result = output_commit(&page);
	output_abandon(&page);
	if (result != 0)
		return report_fail_page(path, result);
	if (status == 0 && strcmp(path, "-") != 0)
		fprintf(stderr, "twshim: the page is in %s\n", path);
	return status;
}

int cmd_report(int argc, char **argv)
{
	struct request request = {
	    .options = {.color = PRINT_COLOR_AUTO, .commands = true}};
	int status = report_read_options(&request, argc, argv);

	if (status != CLI_GO_ON)
		return status;
	memory_prefer_huge_pages();
	if (request.diff)
		return report_write_diff(request.diff, &request.options);
	return request.page ? report_write_page(request.page, &request.options)
			    : report_write(stdout, &request.options);
}
