/* SPDX-License-Identifier: MIT
 *
 * twshim trace: one line a connection as it ends.
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
#include "tools/base/cli.h"
#include "tools/base/print.h"
#include "tools/segments/rundir.h"
#include "tools/trace/trace.h"

enum {
	OPTION_TO,
	OPTION_ENDING,
	OPTION_MIN_LIFETIME,
	OPTION_COUNT,
	OPTION_SECONDS,
	OPTION_JSON,
	OPTION_DIR,
	OPTION_COLOR
};

static const struct cli_option OPTIONS[] = {
    [OPTION_TO] = {"to", 't', "WHERE",
		   "only connections to WHERE: 10.0.0.0/8:6379, [fd00::/8],\n*:443; may "
		   "be repeated"},
    [OPTION_ENDING] = {"ending", 'e', "NAME",
		       "only these endings, separated by commas: local_fin, remote_fin,\n"
		       "fin_reset, reset_policy, reset_app, reset_unread,\n"
		       "reset_remote, unseen, abandoned, failed"},
    [OPTION_MIN_LIFETIME] = {"min-lifetime", 'l', "TIME",
			     "only connections that lived at least TIME: 2, 1.5s, 20ms"},
    [OPTION_COUNT] = {"count", 'n', "N", "end after N lines"},
    [OPTION_SECONDS] = {"seconds", 's', "N", "end after N seconds"},
    [OPTION_JSON] = {"json", 0, NULL, "one object per line, schema twshim.trace/1"},
    [OPTION_DIR] = {"dir", 0, "DIR",
		    "follow this run-time directory, which need not exist yet"},
    [OPTION_COLOR] = {"color", 0, "WHEN", "auto (default), always, never"},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "trace",
    .operands = "[APPLICATION|PID]",
    .summary =
	"Prints one line per connection as it ends, of all processes, of one "
	"application (a name\nor path, with * and ? as wildcards) or of one process. "
	"Missed endings are counted.\nConnects that fail immediately are not shown: "
	"see report.\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

struct request {
	struct trace_filter filter;
	uint64_t count; /* 0: no end */
	uint64_t seconds_ns;
	bool json;
	const char *dir;
	enum print_color color;
};

static volatile sig_atomic_t stopped;

static void stop(int number)
{
	stopped = 1;
}

/* -------------------------------------------------------------- command line */

static int add_target(struct trace_filter *filter, const char *text)
{
	struct tws_problem problem = {0};

	if (filter->target_count == TRACE_TARGETS)
		return cli_fail(CLI_USAGE,
				"--to %s: at most %d destinations: leave some out", text,
				TRACE_TARGETS);
	if (!tws_target_parse(text, &filter->targets[filter->target_count], &problem))
		return cli_fail(CLI_USAGE,
				"--to %s: not a destination: write 10.0.0.0/8:6379, "
				"[fd00::/8] or *:443",
				text);
	filter->target_count++;
	return 0;
}

static int add_endings(struct trace_filter *filter, char *list)
{
	enum tws_ending ending;
	char *rest = list, *name;

	while ((name = strsep(&rest, ",")) != NULL) {
		ending = trace_ending_of(name);
		if (ending == TWS_END_NONE)
			return cli_fail(CLI_USAGE,
					"--ending %s: unknown ending: see twshim trace "
					"--help",
					name);
		filter->endings |= 1u << ending;
	}
	return 0;
}

static int set_count(uint64_t *ret_count, const char *text)
{
	char *end;

	errno = 0;
	*ret_count = strtoull(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && !errno && *ret_count)
		return 0;
	return cli_fail(CLI_USAGE, "--count %s: not a number of lines: write 1 or more",
			text);
}

static int set_time(const char *option, uint64_t *ret_ns)
{
	if (trace_parse_duration(optarg, ret_ns) == 0)
		return 0;
	return cli_fail(CLI_USAGE, "--%s %s: not a time: write 2, 1.5s or 20ms", option,
			optarg);
}

static int set_option(void *data, int option)
{
	struct request *request = data;

	switch (option) {
	case OPTION_TO:
		return add_target(&request->filter, optarg);
	case OPTION_ENDING:
		return add_endings(&request->filter, optarg);
	case OPTION_MIN_LIFETIME:
		return set_time("min-lifetime", &request->filter.min_lifetime_ns);
	case OPTION_COUNT:
		return set_count(&request->count, optarg);
	case OPTION_SECONDS:
		return set_time("seconds", &request->seconds_ns);
	case OPTION_JSON:
		request->json = true;
		return 0;
	case OPTION_DIR:
		return cli_take_dir_to_come(&request->dir);
	default:
		return cli_take_color(&request->color);
	}
}

/* CLI_GO_ON, or the exit status. */
static int read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, set_option, request);

	if (status != CLI_GO_ON)
		return status;
	if (argc - optind > 1)
		return cli_fail(CLI_USAGE,
				"trace: %s: only one application or process: see twshim "
				"trace --help",
				argv[optind + 1]);
	if (optind < argc && !cli_is_pid(argv[optind], &request->filter.pid))
		request->filter.app = argv[optind];
	return CLI_GO_ON;
}

/* ------------------------------------------------------------------- following */

struct tracing {
	const struct request *request;
	struct follow *follow;
	bool color;
	uint64_t lines;
	uint64_t missed;
	uint64_t unread; /* said already */
};

static void say_unread(struct tracing *tracing)
{
	uint64_t unread = follow_unread(tracing->follow);

	if (unread == tracing->unread)
		return;
	cli_fail(0,
		 "trace: %llu segments were removed before they could be read: "
		 "what ended in them is not shown",
		 (unsigned long long)(unread - tracing->unread));
	tracing->unread = unread;
}

/* False: enough, or stdout is gone. */
static bool show(struct tracing *tracing, const struct follow_event *event)
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

/* Where nobody reads any more, what was missed is still counted. False as of show(). */
static bool show_all(struct tracing *tracing, const struct follow_event *events,
		     size_t count)
{
	const struct trace_filter *filter = &tracing->request->filter;
	bool more = true;

	for (size_t i = 0; i < count && (more || ferror(stdout)); i++) {
		if (events[i].missed && trace_wants(filter, &events[i]))
			tracing->missed += events[i].missed;
		more = more && show(tracing, &events[i]);
	}
	return more;
}

/* Waits for the next look. False: who reads our output has left, which is noticed even
 * while nothing is printed. */
static bool wait(const struct tracing *tracing, const sigset_t *waiting)
{
	const struct timespec pause = {0, FOLLOW_EVERY_MS * 1000000L};
	struct pollfd fds[] = {{.fd = follow_fd(tracing->follow), .events = POLLIN},
			       {.fd = STDOUT_FILENO}};

	ppoll(fds, 2, &pause, waiting);
	return !(fds[1].revents & (POLLERR | POLLNVAL));
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int follow_all(struct tracing *tracing, const sigset_t *waiting)
{
	const uint64_t until = now_ns() + tracing->request->seconds_ns;
	const struct follow_event *events;
	size_t count;
	bool more = true, left = false;

	while (more) {
		/* After the time is up, or the reader has left, one last look. */
		more = !left && !(tracing->request->seconds_ns && now_ns() >= until);
		if (follow_read(tracing->follow, &events, &count) != 0)
			return cli_fail(CLI_FAILURE, "trace: %s", strerror(ENOMEM));
		if (!show_all(tracing, events, count))
			return 0;
		say_unread(tracing);
		if (fflush(stdout) != 0)
			return 0;
		more = more && !stopped;
		left = more && !wait(tracing, waiting);
	}
	return 0;
}

/* Signals come only while we wait, so that a line is never cut. */
static void catch_signals(sigset_t *ret_waiting)
{
	struct sigaction action = {.sa_handler = stop};
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

/* A reader that has enough, as head(1), is no failure. */
static int finish(const struct tracing *tracing)
{
	if (tracing->missed)
		cli_fail(0, "trace: %llu endings were missed, %llu shown",
			 (unsigned long long)tracing->missed,
			 (unsigned long long)tracing->lines);
	if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE)
		return cli_fail(CLI_FAILURE, "standard output: %s", strerror(errno));
	return 0;
}

/* Without --dir: the usual directory may be made yet, but not where something else is. */
static int check_usual(void)
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
	int status = read_options(&request, argc, argv);
	sigset_t waiting;
	char error[PRINT_ERROR_SIZE];

	if (status >= 0)
		return status;
	if (!request.dir && check_usual() != 0)
		return CLI_FAILURE;
	catch_signals(&waiting);
	if (follow_open(&tracing.follow, request.dir, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "trace: %s", error);
	tracing.color = print_color_wanted(request.color, stdout);
	if (!request.json)
		trace_print_title(stdout, tracing.color);
	status = follow_all(&tracing, &waiting);
	if (status == 0)
		status = finish(&tracing);
	follow_close(tracing.follow);
	return status;
}
