/* SPDX-License-Identifier: MIT
 *
 * twshim exec: becomes a program, with a supervisor beside it that observes it. For
 * services, whose ExecStart= it can be: process, environment, descriptors and signals
 * stay as they are. Whatever goes wrong here, the program is started all the same.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/compile.h"
#include "shim/shared/policy_image.h"
#include "shim/shared/rundir.h"
#include "tools/base/cli.h"
#include "tools/launch/exec_failure.h"
#include "tools/launch/reach.h"
#include "tools/launch/run_directory.h"
#include "tools/observe/door.h"
#include "tools/observe/notify_filter.h"
#include "tools/observe/supervisor.h"
#include "tools/policy/store.h"

#define OWN_FAILURE 125

struct exec_request {
	struct policy_given policy;
	const char *name; /* argv[0] of the program; NULL: as it is typed */
	struct reach reach;
	struct tws_policy_image *image; /* NULL: none */
	char why_not[PATH_MAX + 256];	/* why it goes unobserved */
};

static const struct cli_option OPTIONS[] = {
    {"config", 'c', "FILE", "the policy of this program; default: what is loaded",
     cli_take_text, .offset = offsetof(struct exec_request, policy.source.file)},
    POLICY_RULE_OPTION(struct exec_request, policy),
    {"argv0", 'a', "NAME", "the name that COMMAND gets as its first argument",
     cli_take_text, .offset = offsetof(struct exec_request, name)},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "exec",
    .operands = "[--] COMMAND [ARGUMENT]...",
    .summary =
	"Becomes COMMAND, in the same process, with a supervisor beside it that "
	"observes it and what\nit starts, and carries out a policy. For programs that "
	"the shim does not reach, as those in\nGo and static ones, and so for a unit's "
	"ExecStart=: pid, environment, descriptors and\nsignals are kept, and the "
	"supervisor ends with the program. twshim report shows the counts.\n",
    .notes =
	"Where COMMAND can't be observed, it is started as it is, and one line on "
	"standard error says\nwhy. Without CAP_SYS_ADMIN it can't start sudo and other "
	"set-user-ID programs any more.\n\nExit status: that of COMMAND; 125 after a "
	"wrong option, 126 if COMMAND can't be run, 127 if it\nwas not found.\n",
    .options = OPTIONS,
    .most_operands = CLI_ANY,
    .usage_status = OWN_FAILURE,
    .stop_at_word = true,
};

/* CLI_GO_ON, or the exit status. */
static int exec_read_options(struct exec_request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, request);

	if (status != CLI_GO_ON || optind < argc)
		return status;
	return cli_fail(OWN_FAILURE, "exec: COMMAND is missing: say what to start, as in "
				     "twshim exec -- ./server --port 80");
}

/* A policy that is wrong does not keep a service from starting. */
static void exec_compile_policy(struct exec_request *request)
{
	struct tws_complaints complaints = {0};

	if (!policy_is_given(&request->policy))
		return;
	request->image = tws_compile(&request->policy.source, &complaints);
	tws_policy_print_complaints(stderr, &complaints);
	tws_complaints_free(&complaints);
	if (request->image)
		request->image->generation = 1;
	else
		cli_fail(0, "the policy is wrong: %s is started without it",
			 *request->reach.path ? request->reach.path : "the program");
}

static void exec_say_refused(const struct door_program *program, const char *why)
{
	cli_fail(0, "%s is started without being observed: %s", program->path, why);
}

static void exec_refused(const struct door_program *program, int error)
{
	char why[128];

	notify_filter_explain(why, sizeof(why), error);
	exec_say_refused(program, why);
}

/* A filter would take the privileges away that such a program gains. What does not exist
 * is left to exec to complain about. */
static bool exec_may_supervise(struct exec_request *request)
{
	const struct reach *reach = &request->reach;

	if (reach->verdict == REACH_NOT_FOUND)
		return false;
	if (reach->verdict != REACH_SETID && reach->verdict != REACH_CAPABILITIES &&
	    reach->verdict != REACH_DISABLED)
		return true;
	snprintf(request->why_not, sizeof(request->why_not), "%s", reach->why);
	return false;
}

/* Both sides of the door, and the supervisor behind it. 0 or -errno. */
static int exec_start_supervisor(struct exec_request *request, int place, int *ret_client,
				 struct supervisor *ret_supervisor)
{
	uint8_t run[TWS_RUN_SIZE];
	const char *tag = getenv("TWSHIM_RUN");
	struct supervisor_setup setup = {
	    .directory = -1,
	    .place = place,
	    .netlink = -1,
	    .run = tag && tws_run_parse(tag, run) ? run : NULL,
	    .policy = request->image,
	    .policy_key = request->image ? tws_policy_key(TWS_LAYER_RUN, 1) : 0,
	};
	int door[2], result;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, door) != 0) {
		result = -errno;
		snprintf(request->why_not, sizeof(request->why_not), "a socket pair: %s",
			 strerror(-result));
		return result;
	}
	setup.client = door[1];
	result = supervisor_start_apart(ret_supervisor, &setup, request->why_not,
					sizeof(request->why_not));
	close(door[1]);
	if (result != 0)
		close(door[0]);
	else
		*ret_client = door[0];
	return result;
}

/* Returns the errno of exec. */
static int exec_become(struct exec_request *request, const struct door_program *program)
{
	struct supervisor supervisor = {.control = -1};
	int place = -1, client = -1, result = -1;

	if (exec_may_supervise(request))
		place =
		    run_directory_open_place(request->why_not, sizeof(request->why_not));
	if (place >= 0) {
		result = exec_start_supervisor(request, place, &client, &supervisor);
		close(place);
	}
	if (result == 0)
		return door_exec_through(client, supervisor.pid, program);
	if (*request->why_not)
		exec_say_refused(program, request->why_not);
	execvpe(program->path, program->argv, program->environment);
	return errno;
}

int cmd_exec(int argc, char **argv)
{
	static struct exec_request request;
	struct door_program program = {.environment = environ, .refused = exec_refused};
	char error[PATH_MAX + 256];
	int status = exec_read_options(&request, argc, argv);

	if (status >= 0)
		return status;
	program.path = argv[optind];
	program.argv = argv + optind;
	request.reach = reach_command(program.path, NULL);
	exec_compile_policy(&request);
	if (request.name)
		argv[optind] = (char *)(uintptr_t)request.name;
	status =
	    exec_failure_explain(program.path, request.reach.path,
				 exec_become(&request, &program), error, sizeof(error));
	return cli_fail(status, "%s", error);
}
