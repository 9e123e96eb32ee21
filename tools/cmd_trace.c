/* SPDX-License-Identifier: MIT
 *
 * twshim trace: prints one line per connection as it ends.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config/address.h"
#include "shim/shared/clock.h"
#include "tools/base/cli.h"
#include "tools/base/print.h"
#include "tools/observe/words.h"
#include "tools/segments/dir_option.h"
#include "tools/segments/rundir.h"
#include "tools/trace/trace.h"

struct request {
	struct trace_filter filter;
	uint64_t count; /* 0: no end */
	uint64_t seconds_ns;
	bool json;
	const char *dir;
	enum print_color color;
};

/* -------------------------------------------------------------- command line */

static int trace_take_target(const struct cli_option *option, void *field)
{
	struct trace_filter *filter = field;
	struct tws_problem problem = {0};

	if (filter->target_count == TRACE_TARGETS)
		return cli_fail(CLI_USAGE,
				"--%s %s: there are %d already: leave some out",
				option->name, optarg, TRACE_TARGETS);
	if (!tws_target_parse(optarg, &filter->targets[filter->target_count], &problem))
		return cli_fail(CLI_USAGE,
				"--%s %s: not a destination: write 10.0.0.0/8:6379, "
				"[fd00::/8] or *:443",
				option->name, optarg);
	filter->target_count++;
	return 0;
}

static int trace_take_endings(const struct cli_option *option, void *field)
{
	struct trace_filter *filter = field;
	enum tws_ending ending;
	char *rest = optarg, *name;

	while ((name = strsep(&rest, ",")) != NULL) {
		ending = trace_ending_of(name);
		if (ending == TWS_END_NONE)
			return cli_fail(CLI_USAGE,
					"--%s %s: no such ending: twshim trace --help "
					"lists them",
					option->name, name);
		filter->endings |= 1u << ending;
	}
	return 0;
}

static int trace_take_time(const struct cli_option *option, void *field)
{
	if (trace_parse_duration(optarg, field) == 0)
		return 0;
	return cli_fail(CLI_USAGE, "--%s %s: not a duration: write 2, 1.5s or 20ms",
			option->name, optarg);
}

static const struct cli_option OPTIONS[] = {
    {"to", 't', "WHERE",
     "only to this destination: 10.0.0.0/8:6379, [fd00::/8],\n"
     "*:443; may be repeated",
     trace_take_target, .offset = offsetof(struct request, filter)},
    {"ending", 'e', "NAME",
     "only these, separated by commas: local_fin, remote_fin,\n"
     "fin_reset, reset_policy, reset_app, reset_unread,\n"
     "reset_remote, unseen, abandoned, failed",
     trace_take_endings, .offset = offsetof(struct request, filter)},
    {"min-lifetime", 'l', "TIME", "only those that lived this long: 2, 1.5s, 20ms",
     trace_take_time, .offset = offsetof(struct request, filter.min_lifetime_ns)},
    {"count", 'n', "N", "end after N lines", cli_take_count,
     .offset = offsetof(struct request, count)},
    {"seconds", 's', "N", "end after N seconds", trace_take_time,
     .offset = offsetof(struct request, seconds_ns)},
    {"json", 0, NULL, "one object per line, schema twshim.trace/1", cli_take_flag,
     .offset = offsetof(struct request, json)},
    {"dir", 0, "DIR", "follow this run-time directory, which may be made later",
     dir_option_take_future, .offset = offsetof(struct request, dir)},
    CLI_COLOR(struct request, color),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "trace",
    .operands = "[APPLICATION|PID]",
    .summary = "Prints one line per connection as it ends, in all processes or in those "
	       "of one\napplication (a name or path; * and ? match anything) or one "
	       "process. Missed events are\ncounted. Connects that fail immediately are "
	       "not shown: see report.\n",
    .options = OPTIONS,
    .most_operands = 1,
};

/* CLI_GO_ON, or the exit status. */
static int trace_read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, request);

	if (status != CLI_GO_ON)
		return status;
	if (optind < argc && !cli_is_pid(argv[optind], &request->filter.pid))
		request->filter.app = argv[optind];
	return CLI_GO_ON;
}

/* ------------------------------------------------------------------- following */

static volatile sig_atomic_t stopped;

static void trace_stop(int number)
{
	stopped = 1;
}

struct tracing {
	const struct request *request;
	struct follow *follow;
	bool color;
	uint64_t lines;
	uint64_t missed;
	uint64_t unread; /* printed already */
};

static void trace_warn_unread(struct tracing *tracing)
{
	uint64_t unread = follow_unread(tracing->follow);

	if (unread == tracing->unread)
		return;
	cli_fail(0,
		 "trace: %llu segments were gone before they could be read: connections "
		 "that ended in them are not shown",
		 (unsigned long long)(unread - tracing->unread));
	tracing->unread = unread;
}

/* False: that is enough, or stdout is gone. */
static bool trace_show(struct tracing *tracing, const struct follow_event *event)
{
	const struct request *request = tracing->request;

	if (!trace_wants(&request->filter, event))
		return true;
	if (!request->json)
		trace_print_text(stdout, event, tracing->color);
	else if (trace_print_json(stdout, event) != 0)
		return false;
	tracing->lines += !event->missed;
	return !ferror(stdout) && (!request->count || tracing->lines < request->count);
}

/* Counts what was missed even after the reader of stdout has left. Returns as
 * trace_show(). */
static bool trace_show_all(struct tracing *tracing, const struct follow_event *events,
			   size_t count)
{
	const struct trace_filter *filter = &tracing->request->filter;
	bool more = true;

	for (size_t i = 0; i < count && (more || ferror(stdout)); i++) {
		if (events[i].missed && trace_wants(filter, &events[i]))
			tracing->missed += events[i].missed;
		more = more && trace_show(tracing, &events[i]);
	}
	return more;
}

/* Waits for the next look. False: the reader of stdout has left; this is noticed even
 * while nothing is printed. */
static bool trace_wait(const struct tracing *tracing, const sigset_t *waiting)
{
	const struct timespec pause = {0, FOLLOW_EVERY_MS * 1000000L};
	struct pollfd fds[] = {{.fd = follow_fd(tracing->follow), .events = POLLIN},
			       {.fd = STDOUT_FILENO}};

	ppoll(fds, 2, &pause, waiting);
	return !(fds[1].revents & (POLLERR | POLLNVAL));
}

static int trace_follow(struct tracing *tracing, const sigset_t *waiting)
{
	const uint64_t until = tws_now() + tracing->request->seconds_ns;
	const struct follow_event *events;
	size_t count;
	bool more = true, left = false;

	while (more) {
		/* After the time is up, or the reader has left, one last look. */
		more = !left && !(tracing->request->seconds_ns && tws_now() >= until);
		if (follow_read(tracing->follow, &events, &count) != 0)
			return cli_fail(CLI_FAILURE, "trace: %s", strerror(ENOMEM));
		if (!trace_show_all(tracing, events, count))
			return 0;
		trace_warn_unread(tracing);
		if (fflush(stdout) != 0)
			return 0;
		more = more && !stopped;
		left = more && !trace_wait(tracing, waiting);
	}
	return 0;
}

/* Signals come only while we wait, so that a line is never cut. */
static void trace_catch_signals(sigset_t *ret_waiting)
{
	struct sigaction action = {.sa_handler = trace_stop};
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, ret_waiting);
	sigdelset(ret_waiting, SIGINT);
	sigdelset(ret_waiting, SIGTERM);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* A reader that has read enough, such as head(1), is not a failure. */
static int trace_finish(const struct tracing *tracing)
{
	if (tracing->missed)
		cli_fail(0, "trace: %llu endings were missed, %llu shown",
			 (unsigned long long)tracing->missed,
			 (unsigned long long)tracing->lines);
	if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE)
		return cli_fail(CLI_FAILURE, "standard output: %s", strerror(errno));
	return 0;
}

/* Without --dir: the usual directory may not exist yet, but nothing else may be in its
 * place. */
static int trace_check_usual(void)
{
	char path[PATH_MAX], error[PATH_MAX + 256];
	int found = tws_rundir_find(path, sizeof(path));
	int fd = found == 0 ? tws_rundir_open(path) : found;

	if (fd >= 0)
		close(fd);
	if (fd >= 0 || fd == -ENOENT)
		return 0;
	tws_rundir_explain(error, sizeof(error), found == 0 ? path : NULL, fd,
			   "TWSHIM_DIR");
	return cli_fail(CLI_FAILURE, "trace: %s", error);
}

int cmd_trace(int argc, char **argv)
{
	struct request request = {.color = PRINT_COLOR_AUTO};
	struct tracing tracing = {.request = &request};
	int status = trace_read_options(&request, argc, argv);
	sigset_t waiting;
	char error[PRINT_ERROR_SIZE];

	if (status >= 0)
		return status;
	if (!request.dir && trace_check_usual() != 0)
		return CLI_FAILURE;
	trace_catch_signals(&waiting);
	if (follow_open(&tracing.follow, request.dir, words_source(), error,
			sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "trace: %s", error);
	tracing.color = print_color_wanted(request.color, stdout);
	if (!request.json)
		trace_print_title(stdout, tracing.color);
	status = trace_follow(&tracing, &waiting);
	if (status == 0)
		status = trace_finish(&tracing);
	follow_close(tracing.follow);
	return status;
}
