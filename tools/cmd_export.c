/* SPDX-License-Identifier: MIT
 *
 * twshim export: the metrics once, for a textfile collector.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/base/memory.h"
#include "tools/metrics/metrics.h"
#include "tools/base/output.h"

enum { OPTION_TEXTFILE, OPTION_OPENMETRICS, OPTION_TOP, OPTION_MAX_SERIES, OPTION_DIR };

static const struct cli_option OPTIONS[] = {
    [OPTION_TEXTFILE] = {"textfile", 'o', "FILE",
			 "write to FILE, completely or not at all (default: standard\n"
			 "output); node_exporter reads only names ending in .prom"},
    [OPTION_OPENMETRICS] = {"openmetrics", 0, NULL,
			    "OpenMetrics instead of Prometheus text"},
    [OPTION_TOP] = {"top", 0, "N",
		    "destinations per application with series of their own\n"
		    "(20); the rest is to=\"other\""},
    [OPTION_MAX_SERIES] = {"max-series", 0, "N",
			   "most series in total (10000); those left out are counted"},
    [OPTION_DIR] = {"dir", 0, "DIR", "read this run-time directory"},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "export",
    .operands = "",
    .summary =
	"Writes the metrics of `twshim serve` once, for a textfile collector or to "
	"read.\nCounters continue where an earlier export stopped.\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

struct request {
	const char *file;
	enum metrics_format format;
	struct metrics_options options;
};

static int set_option(void *data, int option)
{
	struct request *request = data;

	switch (option) {
	case OPTION_TEXTFILE:
		request->file = optarg;
		return 0;
	case OPTION_OPENMETRICS:
		request->format = METRICS_OPENMETRICS;
		return 0;
	case OPTION_TOP:
		return cli_take_number("top", &request->options.top, LEDGER_DESTINATIONS);
	case OPTION_MAX_SERIES:
		return cli_take_number("max-series", &request->options.series, 1000000);
	default:
		return cli_take_dir(&request->options.dir);
	}
}

static int read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, set_option, request);

	return status == CLI_GO_ON ? cli_no_operand(&COMMAND, argc, argv) : status;
}

static int write_file(const struct request *request, const struct metrics *metrics)
{
	struct output output;
	int result = output_open(&output, request->file);

	if (result == 0) {
		metrics_write(output.file, metrics, request->format);
		result = output_commit(&output);
	}
	if (result != 0)
		return cli_fail(
		    CLI_FAILURE,
		    "export: %s: %s; an existing file is unchanged: name a file "
		    "(--textfile) that you may write, in a directory that exists",
		    request->file, strerror(-result));
	return 0;
}

int cmd_export(int argc, char **argv)
{
	struct request request = {
	    .file = "-", .options = {.top = METRICS_TOP, .series = METRICS_SERIES}};
	int status = read_options(&request, argc, argv);
	struct metrics *metrics = NULL;
	char error[PRINT_ERROR_SIZE];

	if (status >= 0)
		return status;
	memory_prefer_huge_pages();
	if (metrics_collect(&metrics, &request.options, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "export: %s", error);
	if (metrics_saved(metrics) < 0)
		cli_fail(0,
			 "export: %s in the run-time directory: %s: counters may go back "
			 "at the next export",
			 LEDGER_FILE, strerror(-metrics_saved(metrics)));
	status = write_file(&request, metrics);
	metrics_free(metrics);
	return status;
}
