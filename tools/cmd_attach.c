/* SPDX-License-Identifier: MIT
 *
 * twshim attach: a supervisor for a process that runs already. Everything that can be
 * found out is, before the process is touched.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/compile.h"
#include "shim/shared/policy_image.h"
#include "tools/base/cli.h"
#include "tools/launch/run_directory.h"
#include "tools/observe/attach.h"
#include "tools/observe/door.h"
#include "tools/observe/keeper.h"
#include "tools/observe/supervisor.h"
#include "tools/policy/store.h"

#define SUPERVISORS 3 /* that are tried */

struct attach_request {
	struct policy_given policy;
	bool inject;
	pid_t process;
	bool gives_up;
	struct tws_policy_image *image; /* NULL: none */
	int place, client;
	struct supervisor supervisor;
};

static const struct cli_option OPTIONS[] = {
    {"inject", 0, NULL,
     "have the process itself make the system calls that put the\n"
     "filter on (seccomp); it is stopped for that, for about a\n"
     "millisecond, by ptrace. The filter stays until it ends",
     cli_take_flag, .offset = offsetof(struct attach_request, inject)},
    {"config", 'c', "FILE", "the policy of this process; default: what is loaded",
     cli_take_text, .offset = offsetof(struct attach_request, policy.source.file)},
    POLICY_RULE_OPTION(struct attach_request, policy),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "attach",
    .operands = "PID --inject",
    .summary =
	"Puts a supervisor beside a process of your own that runs already. It observes "
	"what the\nprocess, and what it starts, connects from now on, and carries out a "
	"policy. twshim report\nshows the counts. Root's twshim watch --pid observes "
	"any process, and changes nothing in it.\n",
    .notes =
	"Refused: other users' processes, also for root; a process that has the shim or "
	"a filter of\nsystem calls; one that is traced or stopped; other machines than "
	"x86-64; and where\nkernel.yama.ptrace_scope forbids it. A process without "
	"CAP_SYS_ADMIN can't start sudo and other\nset-user-ID programs any more.\n\n"
	"Exit status: 0 it is observed, 1 it is not, and goes on as it was, 2 usage.\n",
    .options = OPTIONS,
    .most_operands = 1,
};

/* CLI_GO_ON, or the exit status. */
static int attach_read_options(struct attach_request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, request);

	if (status != CLI_GO_ON)
		return status;
	if (optind == argc)
		return cli_fail(CLI_USAGE,
				"attach: PID is missing: name a process of yours, as in "
				"twshim attach 4711 --inject");
	if (!cli_is_pid(argv[optind], &request->process))
		return cli_fail(CLI_USAGE,
				"attach: %s is not the number of a process: see pgrep",
				argv[optind]);
	if (!request->inject)
		return cli_fail(CLI_USAGE,
				"attach: --inject is missing: the process would be made "
				"to put a filter on itself, which stays: add --inject if "
				"it may; as root, twshim watch --pid %d changes nothing",
				(int)request->process);
	return CLI_GO_ON;
}

static int attach_compile_policy(struct attach_request *request)
{
	struct tws_complaints complaints = {0};

	if (!policy_is_given(&request->policy))
		return 0;
	request->image = tws_compile(&request->policy.source, &complaints);
	tws_policy_print_complaints(stderr, &complaints);
	tws_complaints_free(&complaints);
	if (!request->image)
		return CLI_FAILURE;
	request->image->generation = 1;
	return 0;
}

static int attach_start_supervisor(struct attach_request *request)
{
	char error[PATH_MAX + 256];
	struct supervisor_setup setup = {
	    .directory = -1,
	    .netlink = -1,
	    .policy = request->image,
	    .policy_key = request->image ? tws_policy_key(TWS_LAYER_RUN, 1) : 0,
	};
	int door[2];

	request->place = run_directory_open_place(error, sizeof(error));
	if (request->place < 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, door) != 0)
		return cli_fail(CLI_FAILURE, "attach: %s", strerror(errno));
	request->client = door[0];
	setup.place = request->place;
	setup.client = door[1];
	if (supervisor_start_apart(&request->supervisor, &setup, error, sizeof(error)) !=
	    0)
		return cli_fail(CLI_FAILURE, "attach: %s", error);
	close(door[1]);
	return 0;
}

/* The filter is on, and somebody must answer for ever: if not this supervisor, which may
 * have been held up, then another one, or a keeper, which lets everything pass once this
 * process has ended. */
static int attach_hand_over(struct attach_request *request, int listener)
{
	struct keeper keeper = {0};
	struct door_terms terms;

	for (int i = 0; i < SUPERVISORS; i++)
		if (door_hand_listener(request->client, listener))
			return 0;
		else if (attach_start_supervisor(request) != 0 ||
			 !door_hear_terms(request->client, &terms))
			break;
	keeper_start(&keeper, &listener, 1);
	return cli_fail(CLI_FAILURE,
			"%d: the supervisor has ended: it goes on without being observed",
			(int)request->process);
}

static int attach_inject(struct attach_request *request)
{
	struct door_terms terms;
	char error[256];
	sigset_t all;
	int listener;

	if (!door_hear_terms(request->client, &terms))
		return cli_fail(CLI_FAILURE, "attach: the supervisor does not answer");
	/* Nothing must end this process while another is stopped by it. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	listener = attach_install(request->process, terms.also, request->gives_up, error,
				  sizeof(error));
	if (listener < 0)
		return cli_fail(CLI_FAILURE, "%d: %s", (int)request->process, error);
	return attach_hand_over(request, listener);
}

static int attach_print(const struct attach_request *request)
{
	printf("a supervisor observes %d from now on: twshim report %d\n",
	       (int)request->process, (int)request->process);
	if (request->gives_up)
		cli_fail(0,
			 "%d can't start sudo and other set-user-ID programs any more "
			 "(no_new_privs)",
			 (int)request->process);
	return cli_finish_output();
}

int cmd_attach(int argc, char **argv)
{
	static struct attach_request request;
	char error[256];
	int status = attach_read_options(&request, argc, argv);

	if (status >= 0)
		return status;
	if (!attach_is_allowed(request.process, &request.gives_up, error, sizeof(error)))
		return cli_fail(CLI_FAILURE, "%d: %s", (int)request.process, error);
	status = attach_compile_policy(&request);
	if (status == 0)
		status = attach_start_supervisor(&request);
	if (status == 0)
		status = attach_inject(&request);
	free(request.image);
	return status ? status : attach_print(&request);
}
