/* SPDX-License-Identifier: MIT
 *
 * All signals are blocked and read from a descriptor while the command runs. So none of
 * our signal dispositions changes, ignored signals stay ignored, and nothing is
 * interrupted.
 */
#include "tools/launch/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/kernel/lineage.h"

struct waiting {
	pid_t child;
	int signals; /* signalfd */
	bool ended;
	bool stopped;	   /* the child is stopped */
	bool told_to_stop; /* a stop signal of the terminal came to us too */
	int status;
};

/* ------------------------------------------------------------------ the child */

struct disguise {
	sigset_t mask;		/* the signal mask that we were given */
	struct sigaction child; /* of SIGCHLD: if ignored, wait() would not work */
};

static void put_on(struct disguise *ret_before)
{
	static const int own[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
				  SIGSYS,  SIGTRAP, SIGABRT};
	const struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		sigdelset(&all, own[i]);
	sigprocmask(SIG_SETMASK, &all, &ret_before->mask);
	sigaction(SIGCHLD, &standard, &ret_before->child);
}

static void take_off(const struct disguise *before)
{
	sigaction(SIGCHLD, &before->child, NULL);
	sigprocmask(SIG_SETMASK, &before->mask, NULL);
}

static void become(const struct launch *launch, const struct disguise *before, int report)
{
	ssize_t written;
	int error;

	take_off(before);
	if (launch->execute) {
		error = launch->execute(launch);
	} else {
		execvpe(launch->argv[0], launch->argv, launch->environment);
		error = errno;
	}
	do {
		written = write(report, &error, sizeof(error));
	} while (written < 0 && errno == EINTR);
	_exit(127);
}

/* The pipe carries only the errno of a failed exec, and exec closes it. It is read
 * when the child has ended: waiting here would miss that the child is stopped. */
static int exec_error(int report)
{
	int error = 0;

	return read(report, &error, sizeof(error)) == sizeof(error) ? error : 0;
}

/* -------------------------------------------------------------------- signals */

/* The kernel itself sent the signal, as for the terminal's keys, so the whole process
 * group got it, including the child. The exceptions are a hang-up, which goes only to
 * the session's leader, and timers, which go to their owner. */
static bool is_ours_alone(int signal)
{
	switch (signal) {
	case SIGALRM:
	case SIGVTALRM:
	case SIGPROF:
		return true;
	case SIGHUP:
		return getsid(0) == getpid();
	default:
		return false;
	}
}

static void hand_on(const struct waiting *waiting, const struct signalfd_siginfo *info)
{
	int signal = (int)info->ssi_signo;
	pid_t sender = (pid_t)info->ssi_pid;
	union sigval value = {.sival_ptr = (void *)(uintptr_t)info->ssi_ptr};

	if (info->ssi_code == SI_KERNEL && !is_ours_alone(signal))
		return;
	/* Signals that the command's own processes send to their process group reach
	 * us as well. */
	if (info->ssi_code != SI_KERNEL && sender > 0 &&
	    lineage_descends(sender, getpid()))
		return;
	if (info->ssi_code == SI_QUEUE)
		sigqueue(waiting->child, signal, value);
	else
		kill(waiting->child, signal);
}

static bool has_terminal(void)
{
	int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* Stops us as the child was stopped. Without job control (somebody stopped the child
 * alone, and will continue it alone) nobody would continue us, so then we do not stop. */
static void stop_too(struct waiting *waiting, int signal)
{
	struct sigaction action;
	sigset_t one;

	if (!waiting->told_to_stop && !has_terminal())
		return;
	waiting->told_to_stop = false;
	if (sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
		signal = SIGSTOP;
	sigemptyset(&one);
	sigaddset(&one, signal);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	kill(getpid(), signal);
	sigprocmask(SIG_BLOCK, &one, NULL);
}

/* Collects the status of the child. Other children, which we may have inherited or got
 * as pid 1, are reaped silently. */
static void look(struct waiting *waiting)
{
	int status;
	pid_t pid;

	while (!waiting->ended &&
	       (pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
		if (pid != waiting->child)
			continue;
		waiting->stopped = WIFSTOPPED(status);
		if (WIFSTOPPED(status)) {
			stop_too(waiting, WSTOPSIG(status));
		} else if (!WIFCONTINUED(status)) {
			waiting->ended = true;
			waiting->status = status;
		}
	}
}

/* A stopped child, which is usually in our process group, was continued with us, or is
 * continued now. */
static void go_on(struct waiting *waiting, const struct signalfd_siginfo *info)
{
	bool was_stopped = waiting->stopped;

	look(waiting);
	waiting->told_to_stop = false;
	if (waiting->stopped)
		kill(waiting->child, SIGCONT);
	else if (!was_stopped)
		hand_on(waiting, info);
}

static void take_signal(struct waiting *waiting, const struct signalfd_siginfo *info)
{
	switch (info->ssi_signo) {
	case SIGCHLD:
		break;
	case SIGCONT:
		go_on(waiting, info);
		break;
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
		waiting->told_to_stop = true;
		hand_on(waiting, info);
		break;
	default:
		hand_on(waiting, info);
	}
}

static void take_signals(struct waiting *waiting)
{
	struct signalfd_siginfo info;

	while (read(waiting->signals, &info, sizeof(info)) == sizeof(info))
		take_signal(waiting, &info);
}

static void wait_for(struct waiting *waiting, const struct launch *launch)
{
	struct pollfd polled[] = {
	    {.fd = waiting->signals, .events = POLLIN},
	    {.fd = launch->watch, .events = POLLIN},
	};
	int ready, timeout = -1;

	look(waiting);
	while (!waiting->ended) {
		polled[1].revents = 0;
		ready = poll(polled, timeout < 0 ? 2 : 1, timeout);
		if (ready < 0 && errno != EINTR)
			polled[1].fd = -1;
		take_signals(waiting);
		look(waiting);
		if (polled[1].fd >= 0 && (polled[1].revents || ready == 0))
			timeout = launch->watched(launch->data);
	}
	take_signals(waiting);
}

/* While the report is printed, we can be ended by other signals, but not by the keys
 * that ended the command. */
static void settle_mask(const struct disguise *before)
{
	sigset_t mask = before->mask;

	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGQUIT);
	sigaddset(&mask, SIGPIPE);
	sigaddset(&mask, SIGTTOU);
	sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* ----------------------------------------------------------------- the command */

/* Starts the command, whose exec reports to the pipe, and waits for it. Returns 0 or
 * -errno. */
static int run(const struct launch *launch, const struct disguise *before,
	       struct waiting *waiting, const int report[2])
{
	waiting->child = fork();
	if (waiting->child == 0)
		become(launch, before, report[1]);
	if (waiting->child < 0)
		return -errno;
	wait_for(waiting, launch);
	return 0;
}

static int run_disguised(const struct launch *launch, int signals, const int report[2],
			 struct launch_result *ret_result)
{
	struct waiting waiting = {.signals = signals};
	time_t began_at = time(NULL);
	double began = tws_now_s();
	struct disguise before;
	int result;

	put_on(&before);
	result = run(launch, &before, &waiting, report);
	settle_mask(&before);
	*ret_result = (struct launch_result){
	    .pid = waiting.child,
	    .status = waiting.status,
	    .began = began_at,
	    .elapsed_seconds = tws_now_s() - began,
	    .exec_error = result == 0 ? exec_error(report[0]) : 0,
	};
	return result;
}

int launch_run(const struct launch *launch, struct launch_result *ret_result)
{
	int report[2], signals, result;
	sigset_t all;

	if (pipe2(report, O_CLOEXEC | O_NONBLOCK) != 0)
		return -errno;
	sigfillset(&all);
	signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	result =
	    signals < 0 ? -errno : run_disguised(launch, signals, report, ret_result);
	if (signals >= 0)
		close(signals);
	close(report[0]);
	close(report[1]);
	return result;
}

int launch_exit_status(const struct launch_result *result)
{
	if (WIFSIGNALED(result->status))
		return 128 + WTERMSIG(result->status);
	return WEXITSTATUS(result->status);
}

/* A core dump, if any, is the command's. A limit of 0 does not prevent one that is
 * piped to a program, so the process is made undumpable. */
static void die_of(int signal)
{
	const struct sigaction standard = {.sa_handler = SIG_DFL};
	const struct rlimit none = {0, 0};
	sigset_t one;

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	sigaction(signal, &standard, NULL);
	sigemptyset(&one);
	sigaddset(&one, signal);
	kill(getpid(), signal);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
}

void launch_end_like(const struct launch_result *result)
{
	if (WIFSIGNALED(result->status))
		die_of(WTERMSIG(result->status));
	exit(launch_exit_status(result));
}
