/* SPDX-License-Identifier: MIT
 *
 * One case, in a process of its own. It makes its world, starts the server and the
 * client (this executable again, with the shim preloaded and the rule in force), waits
 * for both, and collects the results.
 */
#include "tools/lab/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/launch/launch.h"
#include "tools/model/model.h"
#include "tools/policy/store.h"

#define TAG		"6c61620000000000000000000000006c" /* of the run that each case is */
#define PATIENCE_MS	20000
#define HANG_MS		1000
#define HANG_LINK_MS	4000
#define CLOSING_MS	500
#define CLOSING_LINK_MS 5000

struct performance {
	const struct lab_bench *bench;
	const struct lab_case *what;
	struct lab_board *board;
	int board_fd;
	char directory[128];
	struct lab_place place;
	pid_t server, client;
};

static int failed(struct lab_board *board, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Records the reason, unless there is one already. Returns -1. */
static int failed(struct lab_board *board, const char *format, ...)
{
	va_list arguments;

	if (*board->failure)
		return -1;
	va_start(arguments, format);
	vsnprintf(board->failure, sizeof(board->failure), format, arguments);
	va_end(arguments);
	return -1;
}

/* The rule is the policy of a run, which stands before all others: a policy of this host
 * must not change what is tried, also where the case has no rule. */
static int install_rule(const struct performance *all)
{
	const char *rule = all->what->rule ? all->what->rule : "close=keep";
	const struct tws_source source = {.rules = &rule, .rule_count = 1};
	struct tws_complaints complaints = {0};
	char layer[PATH_MAX];
	int result;

	snprintf(layer, sizeof(layer), "%s/" TWS_RUN_PREFIX TAG, all->directory);
	result = tws_policy_install(&source, layer, 0600, &complaints);
	if (result != 0)
		failed(all->board, "rule %s: %s", rule,
		       complaints.errors ? complaints.list[0].problem.what
					 : strerror(-result));
	tws_complaints_free(&complaints);
	return result;
}

static int start_server(struct performance *all)
{
	unsigned hang = all->what->world.delay_ms ? HANG_LINK_MS : HANG_MS;
	int fds[LAB_PORTS];
	int result = lab_server_listen(&all->what->server, all->place.address, fds);

	if (result != 0)
		return failed(all->board, "listen on %s: %s", all->place.address,
			      strerror(-result));
	all->server = lab_fork();
	if (all->server == 0) {
		lab_server_run(&all->what->server, fds, all->board, hang);
		_exit(0);
	}
	for (unsigned i = 0; i < LAB_PORTS && fds[i] >= 0; i++)
		close(fds[i]);
	return all->server < 0 ? failed(all->board, "fork: %s", strerror(errno)) : 0;
}

static void become_client(const struct performance *all)
{
	char number[16], program[] = "twshim", lab[] = "lab", option[] = "--client";
	char *argv[] = {program, lab, option, number, NULL};
	char **environment;

	unsetenv("TWSHIM_DISABLED");
	setenv("TWSHIM_DIR", all->directory, 1);
#ifdef __SANITIZE_ADDRESS__
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 1);
#endif
	environment = launch_environment(environ, all->bench->library, TAG, NULL);
	snprintf(number, sizeof(number), "%d", all->board_fd);
	if (environment && fcntl(all->board_fd, F_SETFD, 0) == 0)
		execve("/proc/self/exe", argv, environment);
	_exit(127);
}

static int start_client(struct performance *all)
{
	all->board->parent = getpid();
	all->client = fork();
	if (all->client == 0)
		become_client(all);
	return all->client < 0 ? failed(all->board, "fork: %s", strerror(errno)) : 0;
}

/* Counts only the connections that were tried. */
static uint32_t count_established(const struct lab_board *board)
{
	uint32_t ret = 0;

	for (uint32_t i = 0; i < board->client.count; i++)
		ret += board->connection[i].error == 0;
	return ret;
}

static void await_both(struct performance *all, uint64_t until_ns)
{
	int status = lab_await_child(&all->client, until_ns);

	if (status != 0)
		failed(all->board,
		       status < 0 ? "the client took too long"
				  : "the client died (status %d)",
		       status);
	__atomic_store_n(&all->board->client_done, count_established(all->board) + 1,
			 __ATOMIC_RELEASE);
	if (lab_await_child(&all->server, until_ns) < 0)
		failed(all->board, "the server took too long");
}

static void read_shim(const struct performance *all)
{
	struct model_options options = {.dir = all->directory, .only_dir = true};
	struct model *model = NULL;
	char error[LAB_REASON];

	if (model_build(&model, &options, error, sizeof(error)) != 0) {
		failed(all->board, "%s", error);
		return;
	}
	all->board->shim = model->total;
	if (!model->total.value[TWS_attempts] && all->board->client.count)
		failed(all->board, "the shim saw nothing: is %s of this build?",
		       all->bench->library);
	model_free(model);
}

static int enter_client_namespace(const struct performance *all)
{
	if (all->place.client_ns == all->place.server_ns ||
	    setns(all->place.client_ns, CLONE_NEWNET) == 0)
		return 0;
	return failed(all->board, "setns: %s", strerror(errno));
}

static void drive(struct performance *all)
{
	unsigned patience = all->what->patience_ms ? all->what->patience_ms : PATIENCE_MS;
	uint64_t until = tws_now() + patience * 1000000ull;
	bool link = all->what->world.delay_ms > 0;
	uint64_t retransmitted, overflows;

	if (start_server(all) != 0 || enter_client_namespace(all) != 0)
		return;
	if (install_rule(all) != 0)
		return;
	retransmitted = lab_netstat("TCPSynRetrans");
	overflows = lab_netstat("TCPTimeWaitOverflow");
	if (start_client(all) != 0)
		return;
	await_both(all, until);
	lab_count_time_wait(all->board, link ? CLOSING_LINK_MS : CLOSING_MS);
	all->board->kernel.syn_retransmitted =
	    lab_netstat("TCPSynRetrans") - retransmitted;
	all->board->kernel.overflows = lab_netstat("TCPTimeWaitOverflow") - overflows;
	read_shim(all);
}

static void end_children(struct performance *all)
{
	lab_end_child(&all->client);
	lab_end_child(&all->server);
	lab_end_child(&all->place.forwarder);
}

void lab_case_perform(const struct lab_bench *bench, const struct lab_case *what,
		      struct lab_board *board, int board_fd, unsigned number)
{
	struct performance all = {
	    .bench = bench, .what = what, .board = board, .board_fd = board_fd};

	snprintf(all.directory, sizeof(all.directory), "%s/%u", bench->directory, number);
	if (mkdir(all.directory, 0700) != 0) {
		failed(board, "%s: %s", all.directory, strerror(errno));
		return;
	}
	if (lab_world_enter(&what->world, &all.place, board->failure, LAB_REASON) == 0) {
		snprintf(board->address, sizeof(board->address), "%s", all.place.address);
		snprintf(board->source, sizeof(board->source), "%s", all.place.source);
		if (what->body && what->body(what, board) != 0)
			failed(board, "it did not work");
		else if (!what->body)
			drive(&all);
	}
	end_children(&all);
	lab_remove_directory(all.directory);
}
