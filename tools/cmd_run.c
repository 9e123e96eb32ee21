/* SPDX-License-Identifier: MIT
 *
 * twshim run: starts a command with the shim, waits, reports. Everything that can fail
 * (options, policy, library, directory, report file) comes before the command starts.
 * What goes wrong after that does not change the exit status, which is the command's.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/kernel/command_name.h"
#include "tools/launch/bypass.h"
#include "tools/launch/launch.h"
#include "tools/launch/exec_failure.h"
#include "tools/launch/library.h"
#include "tools/kernel/origin.h"
#include "tools/base/output.h"
#include "tools/policy/layer.h"
#include "tools/policy/store.h"
#include "tools/model/settler.h"
#include "tools/observe/words.h"
#include "tools/base/print.h"
#include "tools/launch/reach.h"
#include "tools/report/fail_if.h"
#include "tools/report/report.h"
#include "tools/run_left.h"
#include "tools/run_observers.h"
#include "tools/launch/run_directory.h"
#include "tools/segments/dir_option.h"
#include "tools/segments/rundir.h"

#define OWN_FAILURE 125

struct run {
	struct policy_given policy;
	const char *output_path, *page_path, *junit_path; /* NULL: none */
	struct fail_if fail_if;
	bool json, markdown, quiet, keep, observe;
	bool obeys; /* a policy, its own or another */
	enum print_color color;
	char **argv;

	char library[PATH_MAX];
	struct reach reach;
	struct run_directory directory;
	struct output output, page, junit;
	struct settler *settler;	/* NULL: the kernel refused it */
	struct run_observers observers; /* of what the shim does not reach */
	char **environment;
	struct launch_result result;
};

/* -------------------------------------------------------------------- options */

static const struct cli_option OPTIONS[] = {
    {"config", 'c', "FILE", "the policy of this run; default: the one that is in force",
     cli_take_text, .offset = offsetof(struct run, policy.source.file)},
    POLICY_RULE_OPTION(struct run, policy),
    {"experiment", 0, "RULE",
     "apply a rule of one line to half of its connections, leave\n"
     "the others alone, and say what differs",
     cli_take_text, .offset = offsetof(struct run, policy.source.experiment)},
    {"observe", 0, NULL, "obey no policy, whatever is in force", cli_take_flag,
     .offset = offsetof(struct run, observe)},
    {"output", 'o', "FILE", "where the report goes; default: standard error",
     cli_take_text, .offset = offsetof(struct run, output_path)},
    {"json", 0, NULL, "the report as one JSON object", cli_take_flag,
     .offset = offsetof(struct run, json)},
    {"markdown", 0, NULL, "only the experiment's result, in Markdown", cli_take_flag,
     .offset = offsetof(struct run, markdown)},
    {"html", 0, "FILE",
     "also write the report as one page that needs nothing else,\n"
     "for a browser or a ticket",
     cli_take_text, .offset = offsetof(struct run, page_path)},
    {"quiet", 'q', NULL, "write only the --html report", cli_take_flag,
     .offset = offsetof(struct run, quiet)},
    {"fail-if", 0, "CONDITION",
     "fail where COMMAND succeeded, but a counter, the TIME_WAIT\n"
     "sockets (time_wait) or the number of findings is so:\n"
     "'time_wait>100', 'failed_no_port', 'TW103'. Repeatable",
     fail_if_take, .offset = offsetof(struct run, fail_if)},
    {"junit", 0, "FILE", "also write the outcome of the conditions as JUnit's XML",
     cli_take_text, .offset = offsetof(struct run, junit_path)},
    {"keep", 0, NULL, "keep the run's counts apart, for twshim report --run",
     cli_take_flag, .offset = offsetof(struct run, keep)},
    CLI_COLOR(struct run, color),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "run",
    .operands = "[--] COMMAND [ARGUMENT]...",
    .summary =
	"Starts COMMAND and its children with the shim, waits, and reports which "
	"program opened\nwhich connections and what TIME_WAIT they left.\n"
	"Programs that the shim does not reach, as those in Go and static ones, are "
	"observed too:\nfor root through the kernel, for others, or where a policy is "
	"to act, by a supervisor.\n",
    .notes = "Exit status: that of COMMAND; 125 if twshim itself failed, 126 if COMMAND "
	     "can't be run,\n127 if it was not found, 124 if COMMAND succeeded and a "
	     "condition of --fail-if holds.\nIf a signal kills COMMAND, twshim "
	     "dies of the same signal.\n",
    .options = OPTIONS,
    .most_operands = CLI_ANY,
    .usage_status = OWN_FAILURE,
    .stop_at_word = true,
};

/* CLI_GO_ON, or the exit status. */
static int run_read_options(struct run *run, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, run);

	if (status != CLI_GO_ON)
		return status;
	if (optind == argc)
		return cli_fail(OWN_FAILURE,
				"run: COMMAND is missing: say what to start, as in "
				"twshim run -- curl http://10.0.0.7/");
	if (run->observe && policy_is_given(&run->policy))
		return cli_fail(OWN_FAILURE,
				"run: --observe obeys no policy: leave it out, or leave "
				"out -c and -p");
	run->argv = argv + optind;
	return CLI_GO_ON;
}

/* ---------------------------------------------------------------- preparations */

/* Puts the policy into the run's directory. */
static int run_store_policy(struct run *run)
{
	struct tws_complaints complaints = {0};
	int result = 0;

	if (run->observe || policy_is_given(&run->policy))
		result = tws_policy_install(&run->policy.source, run->directory.path,
					    run->directory.policy_mode, &complaints);
	if (complaints.errors || !run->quiet)
		tws_policy_print_complaints(stderr, &complaints);
	if (result != 0 && !complaints.errors)
		tws_policy_fail_store(0, run->directory.path, result, "TWSHIM_DIR");
	tws_complaints_free(&complaints);
	return result ? OWN_FAILURE : 0;
}

/* Without a policy of its own, a run obeys what is in force for everybody. */
static void run_name_policy(struct run *run)
{
	char policy[256];

	run->obeys = policy_is_given(&run->policy);
	if (run->obeys || run->observe || !layers_describe(policy, sizeof(policy)))
		return;
	run->obeys = true;
	if (!run->quiet)
		cli_fail(0,
			 "obeys %s: twshim policy show prints it, --observe obeys none",
			 policy);
}

static int run_open_output(struct output *output, const char *path, const char *option)
{
	int result = path ? output_open(output, path) : 0;

	if (result == 0)
		return 0;
	return cli_fail(OWN_FAILURE,
			"%s: %s: name a file (%s) that you may write, in a directory "
			"that exists",
			path, strerror(-result), option);
}

static bool run_wants_report(const struct run *run)
{
	return !run->quiet || run->page_path || run->junit_path || run->fail_if.count;
}

/* Another C library's loader may refuse to start a program with our library, and
 * AddressSanitizer's runtime always does: such a program is started without the shim. */
static bool run_must_skip(enum reach_verdict verdict)
{
	return verdict == REACH_LOADER || verdict == REACH_SANITIZER;
}

/* 0, or the exit status after it has printed the reason. */
static int run_prepare(struct run *run)
{
	char error[PATH_MAX + 256];

	if (library_find(run->library, sizeof(run->library), error, sizeof(error)) != 0 ||
	    run_directory_create(&run->directory, error, sizeof(error)) != 0)
		return cli_fail(OWN_FAILURE, "%s", error);
	if (run_store_policy(run) != 0 ||
	    run_open_output(&run->output, run->output_path, "-o") != 0 ||
	    run_open_output(&run->page, run->page_path, "--html") != 0 ||
	    run_open_output(&run->junit, run->junit_path, "--junit") != 0)
		return OWN_FAILURE;
	run->reach = reach_command(run->argv[0], run->library);
	/* Without it the report still shows what the programs published. */
	settler_open(&run->settler, NULL, false, words_source(), error, sizeof(error));
	return 0;
}

static int run_make_environment(struct run *run)
{
	run->environment = launch_environment(
	    environ, run_must_skip(run->reach.verdict) ? NULL : run->library,
	    run->directory.tag, run_observers_helper(&run->observers));
	return run->environment ? 0 : cli_fail(OWN_FAILURE, "run: %s", strerror(ENOMEM));
}

static void run_warn_unreachable(const struct run *run)
{
	const struct reach *reach = &run->reach;
	const char *instead = run_observers_instead(&run->observers);

	if (reach_is_reached(reach->verdict) || reach->verdict == REACH_NOT_FOUND)
		return;
	if (!instead)
		instead = reach->instead;
	cli_fail(0, "%s: the shim does not reach it: %s%s%s", run->argv[0], reach->why,
		 *instead ? ": " : "", instead);
}

/* ------------------------------------------------------------------ the report */

/* argv about as one would type it, for a person to read. NULL: out of memory. */
static char *run_join_arguments(char *const *argv)
{
	size_t size = 1;
	char *ret, *at;

	for (size_t i = 0; argv[i]; i++)
		size += strlen(argv[i]) + 1;
	ret = malloc(size);
	if (!ret)
		return NULL;
	at = ret;
	*at = '\0';
	for (size_t i = 0; argv[i]; i++) {
		if (i)
			*at++ = ' ';
		at = stpcpy(at, argv[i]);
	}
	return ret;
}

static void run_print_report(struct run *run, FILE *out)
{
	char error[PRINT_ERROR_SIZE], typed[1024];
	char *command = run_join_arguments(run->argv), why[512], name[512];
	const struct report_run about = {
	    .command = command_name_of(run->argv, name, sizeof(name)),
	    .typed = typed,
	    .exit_status = launch_exit_status(&run->result),
	    .began = run->result.began,
	    .elapsed_seconds = run->result.elapsed_seconds,
	    .policy = run->obeys,
	    .bypass = command && bypass_explain(command, run->argv, why, sizeof(why))
			  ? why
			  : NULL,
	};
	const struct report_options options = {
	    .run_tag = run->directory.run,
	    .json = run->json,
	    .markdown = run->markdown,
	    .page = run->page.file,
	    .color = run->color,
	    .listener = run->settler ? settler_listener(run->settler) : NULL,
	    .run = &about,
	    .fail_if = &run->fail_if,
	};

	/* A file may be passed on, and arguments may be secrets. */
	*typed = '\0';
	if (!run->output.file)
		origin_quote_arguments(typed, sizeof(typed), run->argv);
	if (report_print(out, &options, error, sizeof(error)) != 0)
		cli_fail(0, "%s", error);
	else if (run->junit.file)
		junit_print(run->junit.file, &run->fail_if, &about);
	free(command);
}

static bool run_commit(struct output *output, const char *path)
{
	int result = output->file ? output_commit(output) : 0;

	if (result != 0)
		cli_fail(0,
			 "%s: the report can't be written: %s: twshim report still shows "
			 "what was seen",
			 path, strerror(-result));
	return result == 0;
}

static void run_report(struct run *run)
{
	run_print_report(run, run->quiet	 ? NULL
			      : run->output.file ? run->output.file
						 : stderr);
	if (!run->quiet)
		run_commit(&run->output, run->output_path);
	run_commit(&run->junit, run->junit_path);
	if (run_commit(&run->page, run->page_path) && run->page_path && !run->quiet)
		cli_fail(0, "the page is in %s", run->page_path);
}

/* ---------------------------------------------------------------------- the run */

/* Without the means for it, the report lacks the programs that the shim does not reach,
 * and run_warn_unreachable() says so. */
static void run_observe(struct run *run)
{
	if (run_wants_report(run) || run->keep || policy_is_given(&run->policy))
		run_observers_begin(&run->observers, &run->reach, &run->directory,
				    policy_is_given(&run->policy), run->settler);
}

static int run_look(void *data)
{
	struct run *run = data;

	run_observers_step(&run->observers);
	return run->settler ? settler_look(run->settler) : -1;
}

static int run_wait_fd(const struct run *run)
{
	int fd = run_observers_fd(&run->observers);

	return fd < 0 && run->settler ? settler_fd(run->settler) : fd;
}

static int run_execute(const struct launch *launch)
{
	const struct run *run = launch->data;

	return run_observers_execute(&run->observers, launch);
}

static int run_start(struct run *run)
{
	struct launch launch = {
	    .argv = run->argv,
	    .environment = run->environment,
	    .watch = run_wait_fd(run),
	    .watched = run_look,
	    .execute = run_execute,
	    .data = run,
	};
	int status, result = launch_run(&launch, &run->result);
	char error[PATH_MAX + 256];

	if (result != 0)
		return cli_fail(OWN_FAILURE, "%s: can't be started: %s", run->argv[0],
				strerror(-result));
	if (run->result.exec_error == 0)
		return 0;
	status = exec_failure_explain(run->argv[0], run->reach.path,
				      run->result.exec_error, error, sizeof(error));
	return cli_fail(status, "%s", error);
}

static void run_conclude(struct run *run)
{
	/* If the reader of the report leaves, no temporary file must stay. */
	signal(SIGPIPE, SIG_IGN);
	run_observers_conclude(&run->observers);
	if (run->settler && !run_observers_met_no_shim(&run->observers))
		settler_finish(run->settler);
	if (run_wants_report(run))
		run_report(run);
	if (!run->quiet)
		run_left_name(run->directory.tag,
			      run->observers.kernel && !run->observers.supervised);
	if (run->keep)
		cli_fail(0, "kept: twshim report --run %s", run->directory.tag);
	run_directory_finish(&run->directory, run->keep);
}

static void run_release(struct run *run)
{
	run_observers_end(&run->observers);
	output_abandon(&run->output);
	output_abandon(&run->page);
	output_abandon(&run->junit);
	run_directory_discard(&run->directory);
	launch_environment_free(run->environment);
	settler_close(run->settler);
}

int cmd_run(int argc, char **argv)
{
	struct run run = {.directory.fd = -1};
	int status = run_read_options(&run, argc, argv);

	if (status >= 0)
		return status;
	status = run_prepare(&run);
	if (status == 0) {
		run_name_policy(&run);
		run_observe(&run);
		status = run_make_environment(&run);
	}
	if (status == 0 && !run.quiet) {
		run_warn_unreachable(&run);
		if (tws_rundir_check(run.directory.main) == -ENOSPC)
			dir_option_warn_full(run.directory.main);
	}
	if (status == 0)
		status = run_start(&run);
	if (status == 0)
		run_conclude(&run);
	run_release(&run);
	if (status != 0)
		return status;
	if (fail_if_complain(&run.fail_if) && launch_exit_status(&run.result) == 0)
		return FAIL_IF_STATUS;
	launch_end_like(&run.result);
}
