/* SPDX-License-Identifier: MIT
 *
 * twshim watch: observes programs that do not have the shim, including running ones,
 * through the kernel, and then prints the report that `run` prints. What it sees is
 * published while it runs, so every other command shows it.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/base/cli.h"
#include "tools/kernel/lineage.h"
#include "tools/launch/run_directory.h"
#include "tools/observe/cgroup.h"
#include "tools/observe/observation.h"
#include "tools/observe/publish_places.h"
#include "tools/report/report.h"

#define SECOND_NS    1000000000ull
#define SECONDS_MOST 31536000u
#define PIDS	     4096

struct watch {
	unsigned seconds; /* 0: until a signal */
	unsigned ring_kib, connections;
	pid_t pid;
	const char *unit, *cgroup;
	bool json, quiet;
	enum print_color color;

	pid_t pids[PIDS];
	char path[4096]; /* id of the control group */
	struct observe_scope scope;
	struct run_directory directory;
	struct publish_places places;
	struct observation observation;
	struct publish_counts counts; /* at the end */
	struct bpf_source_losses losses;
	time_t began;
	uint64_t began_ns;
};

/* -------------------------------------------------------------------- options */

static int watch_take_pid(const struct cli_option *option, void *field)
{
	if (cli_is_pid(optarg, field))
		return 0;
	return cli_fail(CLI_USAGE, "--pid %s: not a process number: twshim ps lists them",
			optarg);
}

static const struct cli_option OPTIONS[] = {
    {"seconds", 's', "N", "end after N seconds; default: at Ctrl-C", cli_take_number,
     .offset = offsetof(struct watch, seconds), .most = SECONDS_MOST},
    {"pid", 0, "PID", "only this process and its children", watch_take_pid,
     .offset = offsetof(struct watch, pid)},
    {"unit", 0, "UNIT", "only the processes of this systemd unit", cli_take_text,
     .offset = offsetof(struct watch, unit)},
    {"cgroup", 0, "PATH", "only the processes of this control group (version 2)",
     cli_take_text, .offset = offsetof(struct watch, cgroup)},
    {"ring", 0, "KIB", "the kernel's buffer of events, a power of two; default: 8192",
     cli_take_number, .offset = offsetof(struct watch, ring_kib), .most = 1u << 20},
    {"connections", 0, "N", "the most that can be open at once; default: 131072",
     cli_take_number, .offset = offsetof(struct watch, connections), .most = 1u << 24},
    CLI_JSON(struct watch, json, "report/1"),
    {"quiet", 'q', NULL, "no progress, and no report at the end", cli_take_flag,
     .offset = offsetof(struct watch, quiet)},
    CLI_COLOR(struct watch, color),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "watch",
    .operands = "",
    .summary =
	"Observes the TCP connections of every program on this host from now on, "
	"through the\nkernel (BPF): also those of Go and static programs, and of "
	"programs that are already\nrunning. It restarts and changes nothing. While "
	"it runs, report, ps, top, trace,\nowners, doctor and serve show what it "
	"sees; at the end it prints the report. A program\nthat has the shim is "
	"counted by the shim alone. Needs root.\n",
    .options = OPTIONS,
};

/* CLI_GO_ON, or the exit status. */
static int watch_read_options(struct watch *watch, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, watch);

	if (status == CLI_GO_ON &&
	    (watch->pid != 0) + (watch->unit != NULL) + (watch->cgroup != NULL) > 1)
		return cli_fail(
		    CLI_USAGE,
		    "watch: --pid, --unit and --cgroup exclude each other: give "
		    "one of them");
	return status;
}

/* ------------------------------------------------------------------------ scope */

static int watch_scope_pid(struct watch *watch)
{
	if (kill(watch->pid, 0) != 0 && errno == ESRCH)
		return cli_fail(
		    CLI_FAILURE,
		    "watch: %d: no such process: twshim ps and ps -e list them",
		    (int)watch->pid);
	watch->scope.kind = BPF_SCOPE_PROCESSES;
	watch->scope.pids = watch->pids;
	watch->scope.pid_count = lineage_family(watch->pid, watch->pids, PIDS);
	return 0;
}

static int watch_scope_cgroup(struct watch *watch)
{
	uint64_t id;
	uint32_t level;
	int result = 0;

	if (watch->cgroup)
		snprintf(watch->path, sizeof(watch->path), "%s", watch->cgroup);
	else
		result = cgroup_of_unit(watch->unit, watch->path, sizeof(watch->path));
	if (result != 0)
		return cli_fail(
		    CLI_FAILURE,
		    "watch: %s: %s: systemctl status says whether the unit runs; "
		    "it needs control groups of version 2",
		    watch->unit,
		    result == -ENOENT ? "no control group of that name"
				      : strerror(-result));
	result = cgroup_identify(watch->path, &id, &level);
	if (result != 0)
		return cli_fail(
		    CLI_FAILURE,
		    "watch: %s: %s: name a directory below the mount point of "
		    "cgroup2 (mount -t cgroup2 shows it)",
		    watch->path, strerror(-result));
	watch->scope.kind = BPF_SCOPE_CGROUP;
	watch->scope.cgroup = watch->path;
	return 0;
}

static int watch_set_scope(struct watch *watch)
{
	watch->scope.ring_bytes = watch->ring_kib * 1024;
	watch->scope.connections = watch->connections;
	if (watch->pid)
		return watch_scope_pid(watch);
	return watch->unit || watch->cgroup ? watch_scope_cgroup(watch) : 0;
}

/* --------------------------------------------------------------------- progress */

static double watch_elapsed_s(const struct watch *watch)
{
	return (double)(tws_now() - watch->began_ns) / 1e9;
}

static void watch_say_begin(const struct watch *watch)
{
	char what[4200] = "every program of this host";

	if (watch->pid)
		snprintf(what, sizeof(what), "process %d and its children",
			 (int)watch->pid);
	else if (watch->unit || watch->cgroup)
		snprintf(what, sizeof(what), "the processes of %s",
			 watch->unit ? watch->unit : watch->path);
	cli_fail(0, "watching %s; Ctrl-C ends it with the report", what);
}

/* Prints the progress line, which overwrites itself, on a terminal only. */
static void watch_say_progress(const struct watch *watch)
{
	const struct publish_counts *counts =
	    publish_counts(watch->observation.publisher);
	char attempts[PRINT_NUMBER_SIZE], processes[PRINT_NUMBER_SIZE];

	if (watch->quiet || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%.0f s: %s %s, %s %s\033[K", watch_elapsed_s(watch),
		print_number(processes, counts->processes),
		print_plural(counts->processes, "process", "processes"),
		print_number(attempts, counts->attempts),
		print_plural(counts->attempts, "connection", "connections"));
}

static void watch_clear_progress(const struct watch *watch)
{
	if (!watch->quiet && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

/* Prints what the numbers do not include. */
static void watch_say_losses(const struct watch *watch)
{
	const struct bpf_source_losses *losses = &watch->losses;
	char number[PRINT_NUMBER_SIZE];

	if (losses->lost)
		cli_fail(
		    0,
		    "%s connections were not counted: the kernel's table of them was "
		    "full",
		    print_number(number, losses->lost));
	if (losses->deferred)
		cli_fail(
		    0,
		    "the kernel's ring was full %s times; what it had no room for was "
		    "read from the table%s",
		    print_number(number, losses->deferred),
		    losses->lost ? "" : ", and nothing is lost");
	if (losses->found)
		cli_fail(
		    0,
		    "the ends of %s connections were not seen as they happened; what "
		    "became of these was looked up in the kernel's table of sockets",
		    print_number(number, losses->found));
	if (watch->counts.refused)
		cli_fail(0, "%s processes were not published: no memory or no room in %s",
			 print_number(number, watch->counts.refused),
			 watch->directory.main);
	if (losses->no_early)
		cli_fail(0,
			 "connects that fail before anything is sent (no route) are not "
			 "seen on this kernel");
}

/* ------------------------------------------------------------------------- the work */

static int watch_begin(struct watch *watch)
{
	const struct publish_place place = {.directory = publish_by_user,
					    .data = &watch->places,
					    .run = watch->directory.run};
	char error[PRINT_ERROR_SIZE];

	if (run_directory_create(&watch->directory, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "watch: %s", error);
	watch->places.main = watch->directory.place;
	if (observation_lock(watch->directory.main, watch->scope.kind == BPF_SCOPE_ALL) ==
	    -EWOULDBLOCK)
		return cli_fail(
		    CLI_FAILURE,
		    "watch: another watch is running, and two would count twice: "
		    "twshim report, top and trace show what it sees");
	if (observation_begin(&watch->observation, &watch->scope, &place, error,
			      sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "watch: %s", error);
	watch->began = time(NULL);
	watch->began_ns = tws_now();
	bpf_source_adopt(watch->observation.source, &watch->scope);
	return 0;
}

/* These signals are blocked from now on and read from the descriptor. */
static int watch_take_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static bool watch_is_over(const struct watch *watch)
{
	return watch->seconds &&
	       tws_now() - watch->began_ns >= watch->seconds * SECOND_NS;
}

static void watch_loop(struct watch *watch, int signals)
{
	struct pollfd fds[2] = {
	    {.fd = observation_fd(&watch->observation), .events = POLLIN},
	    {.fd = signals, .events = POLLIN},
	};
	uint64_t said_ns = 0;

	while (!watch_is_over(watch) && !(fds[1].revents & POLLIN)) {
		poll(fds, 2, 100);
		observation_step(&watch->observation);
		if (tws_now() - said_ns < SECOND_NS)
			continue;
		said_ns = tws_now();
		watch_say_progress(watch);
	}
	watch_clear_progress(watch);
}

static void watch_finish(struct watch *watch)
{
	const struct observation *observation = &watch->observation;

	bpf_source_read_all(observation->source);
	watch->losses = bpf_source_losses(observation->source);
	watch->counts = *publish_counts(observation->publisher);
	observation_end(&watch->observation);
	publish_places_close(&watch->places);
}

static int watch_report(struct watch *watch)
{
	const struct report_run about = {.command = "twshim watch",
					 .began = watch->began,
					 .elapsed_seconds = watch_elapsed_s(watch),
					 .watch = true};
	const struct report_options options = {.run_tag = watch->directory.run,
					       .json = watch->json,
					       .commands = true,
					       .color = watch->color,
					       .run = &about};
	char error[PRINT_ERROR_SIZE];

	if (report_print(stdout, &options, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	return cli_finish_output();
}

int cmd_watch(int argc, char **argv)
{
	static struct watch watch = {.directory.fd = -1, .color = PRINT_COLOR_AUTO};
	int status = watch_read_options(&watch, argc, argv), signals;

	if (status >= 0)
		return status;
	status = watch_set_scope(&watch);
	if (status == 0)
		status = watch_begin(&watch);
	if (status != 0) {
		run_directory_discard(&watch.directory);
		return status;
	}
	signals = watch_take_signals(); /* before any reader can know that it runs */
	if (!watch.quiet)
		watch_say_begin(&watch);
	watch_loop(&watch, signals);
	close(signals);
	watch_finish(&watch);
	if (!watch.quiet) {
		watch_say_losses(&watch);
		status = watch_report(&watch);
	}
	run_directory_finish(&watch.directory, false);
	return status;
}
