/* SPDX-License-Identifier: MIT
 *
 * twshim doctor: what is wrong, whose fault it is, and what cures it.
 */
#include "tools/commands.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/advice/doctor.h"
#include "tools/base/memory.h"

#define WATCH_SECONDS 2
#define PATIENCE      2 /* seconds until we say that it takes longer */

enum {
	OPTION_ONLY,
	OPTION_EXPLAIN,
	OPTION_ALL,
	OPTION_COVERAGE,
	OPTION_WATCH,
	OPTION_JSON,
	OPTION_MARKDOWN,
	OPTION_DIR,
	OPTION_COLOR
};

static const struct cli_option OPTIONS[] = {
    [OPTION_ONLY] = {"only", 0, "ID", "this finding alone, also if it is fine"},
    [OPTION_EXPLAIN] = {"explain", 0, "ID", "background and sources of a finding"},
    [OPTION_ALL] = {"all", 'a', NULL, "also what is fine"},
    [OPTION_COVERAGE] = {"coverage", 0, NULL,
			 "measure for a second which share of the connections\n"
			 "the shims see"},
    [OPTION_WATCH] = {"watch", 'w', NULL, "look again every 2 seconds"},
    [OPTION_JSON] = {"json", 0, NULL,
		     "one JSON object, schema twshim.doctor/1; of --explain\n"
		     "and --markdown twshim.doctor-explain/1"},
    [OPTION_MARKDOWN] = {"markdown", 0, NULL, "all explanations, for the manual"},
    [OPTION_DIR] = {"dir", 0, "DIR", "read this run-time directory"},
    [OPTION_COLOR] = {"color", 0, "WHEN", "auto (default), always, never"},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "doctor",
    .operands = "[COMMAND|PID]",
    .summary = "What is wrong with TIME_WAIT on this host, most important first: the "
	       "evidence, whose\nfault it is, and the cure. With COMMAND or PID: whether "
	       "the shim can reach it, and\nwhat is found in it alone.\n",
    .notes = "Exit status: 0 fine (or notices), 1 warnings, or no such command or "
	     "process, 2 problems.\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

struct request {
	struct doctor_request doctor;
	const char *explain;
	bool markdown;
};

static int check_id(const char *id)
{
	if (advice_explain(id))
		return 0;
	return cli_fail(CLI_USAGE,
			"doctor: %s: no such finding: twshim doctor --markdown lists all",
			id);
}

static int set_option(void *data, int option)
{
	struct request *request = data;

	switch (option) {
	case OPTION_ONLY:
		request->doctor.only = optarg;
		return check_id(optarg);
	case OPTION_EXPLAIN:
		request->explain = optarg;
		return check_id(optarg);
	case OPTION_ALL:
		request->doctor.all = true;
		return 0;
	case OPTION_COVERAGE:
		request->doctor.coverage = true;
		return 0;
	case OPTION_WATCH:
		request->doctor.watch = true;
		return 0;
	case OPTION_JSON:
		request->doctor.json = true;
		return 0;
	case OPTION_MARKDOWN:
		request->markdown = true;
		return 0;
	case OPTION_DIR:
		return cli_take_dir(&request->doctor.dir);
	default:
		return cli_take_color(&request->doctor.color);
	}
}

/* CLI_GO_ON, or the exit status. */
static int read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, set_option, request);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind > 1)
		return cli_fail(
		    CLI_USAGE,
		    "doctor: %s: only one command or process: see twshim doctor --help",
		    argv[optind + 1]);
	request->doctor.subject = argv[optind];
	if (optind < argc)
		cli_is_pid(argv[optind], &request->doctor.pid);
	return CLI_GO_ON;
}

static void say_patience(int number)
{
	static const char text[] =
	    "twshim: doctor: still looking: this host has many sockets or processes\n";
	int error = errno;

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		return;
	errno = error;
}

static void watch_the_clock(void)
{
	const struct sigaction action = {.sa_handler = say_patience,
					 .sa_flags = SA_RESTART};

	sigaction(SIGALRM, &action, NULL);
	alarm(PATIENCE);
}

/* Looks once and prints. The exit status. */
static int look(const struct request *request)
{
	struct doctor doctor;
	char error[PRINT_ERROR_SIZE];
	int status = 0, result;
	enum advice_verdict worst = VERDICT_OK;

	watch_the_clock();
	result = doctor_examine(&doctor, &request->doctor, error, sizeof(error));
	alarm(0);
	if (result != 0) {
		status = cli_fail(CLI_FAILURE, "%s", error);
	} else if (request->doctor.json) {
		if (doctor_print_json(stdout, &doctor) != 0)
			status = cli_fail(CLI_FAILURE, "doctor: %s", strerror(ENOMEM));
	} else {
		doctor_print_text(stdout, &doctor);
	}
	if (result == 0)
		worst = doctor_worst(&doctor);
	if (result == 0 && status == 0 && doctor_knows_nothing(&doctor))
		status = CLI_FAILURE;
	doctor_free(&doctor);
	result = cli_finish_output();
	if (status == 0)
		status = result;
	if (status != 0)
		return status;
	return worst == VERDICT_PROBLEM ? 2 : worst == VERDICT_WARNING;
}

/* Until a signal ends it. */
static int watch(const struct request *request)
{
	static const char clear[] = "\033[H\033[2J";

	for (;;) {
		if (!request->doctor.json && isatty(STDOUT_FILENO))
			fputs(clear, stdout);
		look(request);
		if (ferror(stdout))
			return CLI_FAILURE;
		sleep(WATCH_SECONDS);
	}
}

/* What is known whatever is found here: of one finding, or of all. */
static int explain(const struct request *request)
{
	const struct advice_explanation *about =
	    request->markdown ? NULL : advice_explain(request->explain);

	if (request->doctor.json) {
		if (doctor_print_explanations_json(stdout, about) != 0 && !ferror(stdout))
			return cli_fail(CLI_FAILURE, "doctor: %s", strerror(ENOMEM));
	} else if (about) {
		doctor_print_explanation(
		    stdout, about, print_color_wanted(request->doctor.color, stdout));
	} else {
		doctor_print_markdown(stdout);
	}
	return cli_finish_output();
}

int cmd_doctor(int argc, char **argv)
{
	struct request request = {.doctor.color = PRINT_COLOR_AUTO};
	int status = read_options(&request, argc, argv);

	if (status >= 0)
		return status;
	if (request.markdown || request.explain)
		return explain(&request);
	memory_prefer_huge_pages();
	return request.doctor.watch ? watch(&request) : look(&request);
}
