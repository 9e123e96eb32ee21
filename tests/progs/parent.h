/* SPDX-License-Identifier: MIT
 *
 * For the child that a test program forks: it ends when its parent does.
 */
#ifndef TWS_TESTS_PARENT_H
#define TWS_TESTS_PARENT_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

/* First of all in the child; `parent`: getpid() before the fork. Who has ended by then
 * sends no signal any more. */
static inline void die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

#endif
