/* SPDX-License-Identifier: MIT
 *
 * twshim reset: starts counting from zero, for the user who gives the command.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/base/json.h"
#include "tools/base/output.h"
#include "tools/model/baseline.h"
#include "tools/report/report.h"
#include "tools/segments/dir_option.h"
#include "tools/segments/prepare.h"
#include "tools/segments/rundir.h"

struct request {
	bool undo, json;
	const char *dir;
	char place[PATH_MAX];
	char counts[PATH_MAX + sizeof(BASELINE_FILE)];
	char old[PATH_MAX + sizeof(BASELINE_AS_JSON)];
};

static const struct cli_option OPTIONS[] = {
    {"undo", 0, NULL, "count on from the old totals", cli_take_flag,
     .offset = offsetof(struct request, undo)},
    CLI_JSON(struct request, json, "reset/1"),
    DIR_OPTION(struct request, dir),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "reset",
    .operands = "",
    .summary =
	"Starts counting from zero: report, top, ps, doctor and the page show what was "
	"counted\nsince. The old totals are kept aside, as a report in JSON. It is for "
	"the user who gives the\ncommand (for root, also about the programs of others); "
	"programs are not touched, other\nusers' views and the metrics for Prometheus "
	"are not affected, and a run's own report is\nwhole.\n",
    .options = OPTIONS,
};

static int reset_fail(const char *path, int result)
{
	return cli_fail(CLI_FAILURE,
			"reset: %s: %s: name a run-time directory of your own with --dir",
			path,
			result == -EPERM ? "belongs to another user, or others may write "
					   "in it"
					 : strerror(-result));
}

/* The directory of this user's programs; made if there is none. 0, or the exit status. */
static int find_place(struct request *request)
{
	int result = 0;

	if (geteuid() == 0 && !request->dir)
		prepare_places();
	if (request->dir)
		snprintf(request->place, sizeof(request->place), "%s", request->dir);
	else
		result = tws_rundir_find(request->place, sizeof(request->place));
	if (result == 0)
		result = tws_rundir_create(request->place);
	if (result != 0)
		return reset_fail(
		    *request->place ? request->place : "the run-time directory", result);
	snprintf(request->counts, sizeof(request->counts), "%s/" BASELINE_FILE,
		 request->place);
	snprintf(request->old, sizeof(request->old), "%s/" BASELINE_AS_JSON,
		 request->place);
	return 0;
}

/* Both files are of the same reading. */
static int write_files(const struct request *request, struct baseline *baseline,
		       FILE *counts, FILE *old)
{
	const struct report_options options = {
	    .dir = request->dir, .json = true, .whole = true, .keep = baseline};
	char error[PRINT_ERROR_SIZE];
	int result = report_print(old, &options, error, sizeof(error));

	if (result != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	result = baseline_write(baseline, counts);
	return result == 0 ? 0 : reset_fail(request->counts, result);
}

/* Puts both files in place, the one that counts last. 0, or the exit status. */
static int keep_counts(const struct request *request, struct baseline *baseline)
{
	struct output counts = {0}, old = {0};
	int result = output_open(&counts, request->counts), status;

	if (result == 0)
		result = output_open(&old, request->old);
	status = result == 0 ? write_files(request, baseline, counts.file, old.file)
			     : reset_fail(request->place, result);
	if (status == 0)
		result = output_commit(&old);
	if (status == 0 && result == 0)
		result = output_commit(&counts);
	if (status == 0 && result != 0)
		status = reset_fail(request->place, result);
	output_abandon(&old);
	output_abandon(&counts);
	return status;
}

static int say_reset(const struct request *request, uint64_t connects,
		     uint64_t realtime_ns)
{
	char time[PRINT_TIME_SIZE], number[PRINT_NUMBER_SIZE], path[2 * PATH_MAX];

	print_time(time, (time_t)(realtime_ns / 1000000000u));
	if (request->json)
		return print_json(stdout,
				  json_pack("{s:s, s:s, s:o, s:s}", "schema",
					    "twshim.reset/1", "since", time,
					    "old_connects", json_count(connects), "old",
					    request->old),
				  JSON_INDENT(1)) == 0
			   ? cli_finish_output()
			   : CLI_FAILURE;
	print_escape(path, sizeof(path), request->old);
	printf("Counting starts from zero at %.8s UTC. The old totals, %s %s, are in\n"
	       "  %s\n"
	       "To compare with them:\n"
	       "  twshim report --diff %s\n"
	       "To count on from them:\n"
	       "  twshim reset --undo%s%s\n"
	       "Metrics are not affected.\n",
	       time + 11, print_number(number, connects),
	       print_plural(connects, "connect", "connects"), path, path,
	       request->dir ? " --dir " : "", request->dir ? request->dir : "");
	return cli_finish_output();
}

static int undo(const struct request *request)
{
	if (unlink(request->counts) != 0)
		return errno == ENOENT
			   ? cli_fail(CLI_FAILURE,
				      "reset: --undo: nothing was reset in %s",
				      request->place)
			   : reset_fail(request->counts, -errno);
	unlink(request->old);
	if (!request->json)
		puts("Counts go on from the old totals.");
	else if (print_json(stdout,
			    json_pack("{s:s, s:n}", "schema", "twshim.reset/1", "since"),
			    JSON_INDENT(1)) != 0)
		return CLI_FAILURE;
	return cli_finish_output();
}

int cmd_reset(int argc, char **argv)
{
	struct request request = {0};
	int status = cli_read(&COMMAND, argc, argv, &request);
	struct baseline *baseline;
	uint64_t realtime_ns;

	if (status != CLI_GO_ON)
		return status;
	status = find_place(&request);
	if (status == 0 && request.undo)
		return undo(&request);
	if (status != 0)
		return status;
	baseline = baseline_new();
	if (!baseline)
		return cli_fail(CLI_FAILURE, "reset: %s", strerror(ENOMEM));
	status = keep_counts(&request, baseline);
	baseline_when(baseline, &realtime_ns);
	if (status == 0)
		status = say_reset(&request, baseline_attempts(baseline), realtime_ns);
	baseline_free(baseline);
	return status;
}
