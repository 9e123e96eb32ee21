/* SPDX-License-Identifier: MIT
 *
 * twshim doctor: says what is wrong, which program causes it, and what cures it.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/advice/doctor.h"
#include "tools/base/interrupt.h"
#include "tools/base/memory.h"
#include "tools/bundle.h"
#include "tools/cold.h"
#include "tools/segments/dir_option.h"

#define WATCH_SECONDS 2
#define NO_SUBJECT    3	 /* exit status: no verdict, unlike 1 and 2 */
#define UNOWNED_LEAST 20 /* sockets, before their programs are looked for */
#define PATIENCE      2	 /* seconds until it prints that it takes longer */

struct request {
	struct doctor_request doctor;
	const char *explain;
	const char *bundle;
	bool markdown;
	unsigned sample;
};

static int doctor_take_finding(const struct cli_option *option, void *field)
{
	if (!advice_explain(optarg))
		return cli_fail(CLI_USAGE,
				"doctor: --%s %s: no such finding: twshim doctor "
				"--markdown lists all",
				option->name, optarg);
	return cli_take_text(option, field);
}

static const struct cli_option OPTIONS[] = {
    {"only", 0, "ID", "this finding alone, even if it is fine", doctor_take_finding,
     .offset = offsetof(struct request, doctor.only)},
    {"explain", 0, "ID", "background and sources of a finding", doctor_take_finding,
     .offset = offsetof(struct request, explain)},
    {"all", 'a', NULL, "also what is fine", cli_take_flag,
     .offset = offsetof(struct request, doctor.all)},
    {"coverage", 0, NULL,
     "measure for a second which share of the connections the\n"
     "shim sees",
     cli_take_flag, .offset = offsetof(struct request, doctor.coverage)},
    {"watch", 'w', NULL, "look again every 2 seconds", cli_take_flag,
     .offset = offsetof(struct request, doctor.watch)},
    {"json", 0, NULL,
     "one JSON object, schema twshim.doctor/1 (for --explain\n"
     "and --markdown: twshim.doctor-explain/1)",
     cli_take_flag, .offset = offsetof(struct request, doctor.json)},
    {"markdown", 0, NULL, "all explanations, for the manual", cli_take_flag,
     .offset = offsetof(struct request, markdown)},
    {"bundle", 0, "FILE",
     "instead: one text file for a colleague, with what this and\n"
     "other commands say; names are escaped, and command lines,\n"
     "which may contain secrets, are left out",
     cli_take_text, .offset = offsetof(struct request, bundle)},
    COLD_OPTION(struct request, sample),
    DIR_OPTION(struct request, doctor.dir),
    CLI_COLOR(struct request, doctor.color),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "doctor",
    .operands = "[COMMAND|PID]",
    .summary =
	"Shows what is wrong with TIME_WAIT on this host, most important first: "
	"the evidence,\nwhich program causes it, and the cure. With COMMAND or PID: "
	"whether the shim can reach\nit, which of the shim, BPF and a supervisor can see "
	"it, and what is found in it alone.\n",
    .notes =
	"Exit status: 0 fine (or notices), 1 warnings (or a failure), 2 problems (or a "
	"wrong command\nline), 3 no such command or process. With --watch, --bundle: "
	"0.\n",
    .options = OPTIONS,
    .most_operands = 1,
};

/* CLI_GO_ON, or the exit status. */
static int doctor_read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, request);

	if (status != CLI_GO_ON)
		return status;
	request->doctor.subject = argv[optind];
	if (optind < argc)
		cli_is_pid(argv[optind], &request->doctor.pid);
	return CLI_GO_ON;
}

static void doctor_say_patience(int number)
{
	static const char text[] =
	    "twshim: doctor: still looking: this host has many sockets or processes\n";
	int error = errno;

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		return;
	errno = error;
}

static void doctor_start_patience(void)
{
	const struct sigaction action = {.sa_handler = doctor_say_patience,
					 .sa_flags = SA_RESTART};

	sigaction(SIGALRM, &action, NULL);
	alarm(PATIENCE);
}

/* If many sockets are unowned, looks for their programs and examines again. */
static int doctor_look_for_programs(const struct request *request, struct doctor *doctor,
				    struct cold *cold, char *ret_error, size_t size)
{
	struct doctor_request again = request->doctor;

	if (again.subject || again.only || again.watch || !doctor->model->has_table ||
	    doctor->traffic.unowned < UNOWNED_LEAST ||
	    !cold_look(cold, &doctor->owners, request->sample, again.json))
		return 0;
	again.seen = &cold->sightings;
	doctor_free(doctor);
	return doctor_examine(doctor, &again, ret_error, size);
}

/* Looks once and prints. The exit status. */
static int doctor_look_once(const struct request *request)
{
	struct cold cold = {.directory.fd = -1, .lock = -1};
	struct doctor doctor;
	char error[PRINT_ERROR_SIZE];
	int status = 0, result;
	enum advice_verdict worst = VERDICT_OK;

	doctor_start_patience();
	result = doctor_examine(&doctor, &request->doctor, error, sizeof(error));
	alarm(0);
	if (result == 0)
		result = doctor_look_for_programs(request, &doctor, &cold, error,
						  sizeof(error));
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
		status = NO_SUBJECT;
	doctor_free(&doctor);
	cold_finish(&cold);
	result = cli_finish_output();
	if (status == 0)
		status = result;
	if (status != 0)
		return status;
	return worst == VERDICT_PROBLEM ? 2 : worst == VERDICT_WARNING;
}

static int doctor_write_bundle(struct request *request)
{
	struct doctor doctor;
	char error[PRINT_ERROR_SIZE];
	int status;

	request->doctor.discreet = true;
	request->doctor.all = true;
	request->doctor.color = PRINT_COLOR_NEVER;
	doctor_start_patience();
	status = doctor_examine(&doctor, &request->doctor, error, sizeof(error));
	alarm(0);
	if (status != 0)
		status = cli_fail(CLI_FAILURE, "%s", error);
	else
		status = bundle_write(&doctor, request->bundle);
	doctor_free(&doctor);
	return status;
}

/* Until it is interrupted. */
static int doctor_watch(const struct request *request)
{
	static const char clear[] = "\033[H\033[2J";

	interrupt_begin();
	do {
		if (!request->doctor.json && isatty(STDOUT_FILENO))
			fputs(clear, stdout);
		doctor_look_once(request);
		if (ferror(stdout))
			return CLI_FAILURE;
	} while (!interrupt_wait(WATCH_SECONDS));
	return 0;
}

/* Prints what does not depend on this host: about one finding, or about all. */
static int doctor_explain_finding(const struct request *request)
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
	struct request request = {.doctor.color = PRINT_COLOR_AUTO,
				  .sample = COLD_SECONDS};
	int status = doctor_read_options(&request, argc, argv);

	if (status >= 0)
		return status;
	if (request.markdown || request.explain)
		return doctor_explain_finding(&request);
	memory_prefer_huge_pages();
	if (request.bundle)
		return doctor_write_bundle(&request);
	return request.doctor.watch ? doctor_watch(&request) : doctor_look_once(&request);
}
