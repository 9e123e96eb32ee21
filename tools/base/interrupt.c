/* SPDX-License-Identifier: MIT */
#include "tools/base/interrupt.h"

#include <time.h>

static sigset_t ends;

const sigset_t *interrupt_begin(void)
{
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	return &ends;
}

bool interrupt_wait(double seconds)
{
	struct timespec pause = {.tv_sec = (time_t)seconds};

	pause.tv_nsec = (long)((seconds - (double)pause.tv_sec) * 1e9);
	return sigtimedwait(&ends, NULL, &pause) > 0;
}
