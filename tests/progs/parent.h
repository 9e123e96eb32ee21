/* SPDX-License-Identifier: MIT
 *
 * For children that a test program forks: they end when their parent does.
 */
#ifndef TWS_TESTS_PARENT_H
#define TWS_TESTS_PARENT_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

/* To be called first in the child, with getpid() of before the fork as `parent`. It also
 * detects a parent that has ended already, which sends no signal. */
static inline void die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

#endif
