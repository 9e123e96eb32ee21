/* SPDX-License-Identifier: MIT
 *
 * The processes of a case, and how they wait.
 */
#include "tools/lab/lab.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"

void lab_sleep_ms(unsigned ms)
{
	struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};

	while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
		;
}

void lab_die_with_parent(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

pid_t lab_fork(void)
{
	pid_t parent = getpid(), child = fork();

	if (child == 0)
		lab_die_with_parent(parent);
	return child;
}

void lab_end_child(pid_t *child)
{
	if (*child > 0) {
		kill(*child, SIGKILL);
		waitpid(*child, NULL, 0);
	}
	*child = 0;
}

int lab_await_child(pid_t *child, uint64_t until_ns)
{
	int status = -1;

	while (waitpid(*child, &status, WNOHANG) == 0) {
		if (tws_now() >= until_ns) {
			lab_end_child(child);
			return -1;
		}
		lab_sleep_ms(1);
	}
	*child = 0;
	return status;
}
