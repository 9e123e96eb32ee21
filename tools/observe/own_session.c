/* SPDX-License-Identifier: MIT */
#include "tools/observe/own_session.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tools/observe/descriptors_close.h"
#include "tools/observe/keeper.h"

static volatile sig_atomic_t interruptions;

static void on_signal(int signal)
{
	interruptions = (interruptions + 1) & 0xffff;
}

int own_session_interruptions(void)
{
	return interruptions;
}

static void set_signals(void)
{
	const struct sigaction interrupt = {.sa_handler = on_signal};
	const struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t waiting;

	sigaction(KEEPER_SIGNAL, &interrupt, NULL);
	sigaction(SIGALRM, &interrupt, NULL);
	sigaction(SIGCHLD, &standard, NULL);
	sigfillset(&waiting);
	sigdelset(&waiting, KEEPER_SIGNAL);
	sigdelset(&waiting, SIGALRM);
	sigprocmask(SIG_SETMASK, &waiting, NULL);
}

void own_session(const char *name, int *wanted, size_t count)
{
	struct rlimit files;

	setsid();
	prctl(PR_SET_NAME, name);
	set_signals();
	descriptors_close_others(wanted, count);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}
