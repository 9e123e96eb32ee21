/* SPDX-License-Identifier: MIT
 *
 * twshim export: writes the metrics once, for a textfile collector.
 */
#include "tools/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/base/memory.h"
#include "tools/metrics/ledger.h"
#include "tools/metrics/metrics.h"
#include "tools/base/output.h"
#include "tools/segments/dir_option.h"

struct request {
	const char *file;
	bool openmetrics;
	struct metrics_options options;
};

static const struct cli_option OPTIONS[] = {
    {"textfile", 'o', "FILE",
     "write to FILE, whole or not at all (default: standard\n"
     "output); node_exporter wants a name that ends in .prom",
     cli_take_text, .offset = offsetof(struct request, file)},
    {"openmetrics", 0, NULL, "OpenMetrics instead of Prometheus text", cli_take_flag,
     .offset = offsetof(struct request, openmetrics)},
    METRICS_OPTIONS(struct request, options),
    DIR_OPTION(struct request, options.dir),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "export",
    .operands = "",
    .summary = "Writes the metrics of `twshim serve` once, for a textfile collector or "
	       "to look at.\nCounters continue from the values of an earlier export.\n",
    .options = OPTIONS,
};

static int export_write(const struct request *request, const struct metrics *metrics)
{
	struct output output;
	int result = output_open(&output, request->file);

	if (result == 0) {
		metrics_write(output.file, metrics,
			      request->openmetrics ? METRICS_OPENMETRICS : METRICS_TEXT);
		result = output_commit(&output);
	}
	if (result != 0)
		return cli_fail(
		    CLI_FAILURE,
		    "export: %s: %s, and what was there before is unchanged: name a file "
		    "(--textfile) that you may write, in a directory that exists",
		    request->file, strerror(-result));
	return 0;
}

int cmd_export(int argc, char **argv)
{
	struct request request = {
	    .file = "-", .options = {.top = METRICS_TOP, .series = METRICS_SERIES}};
	int status = cli_read(&COMMAND, argc, argv, &request);
	struct metrics *metrics = NULL;
	char error[PRINT_ERROR_SIZE];

	if (status != CLI_GO_ON)
		return status;
	memory_prefer_huge_pages();
	if (metrics_collect(&metrics, &request.options, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "export: %s", error);
	if (metrics_saved(metrics) < 0)
		cli_fail(0,
			 "export: %s in the run-time directory: %s: counters may go back "
			 "at the next export",
			 ledger_file_name(), strerror(-metrics_saved(metrics)));
	status = export_write(&request, metrics);
	metrics_free(metrics);
	return status;
}
