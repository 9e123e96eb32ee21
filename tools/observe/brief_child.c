/* SPDX-License-Identifier: MIT */
#include "tools/observe/brief_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool has_pending_sigchld(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && sigismember(&pending, SIGCHLD) == 1;
}

/* Where SIGCHLD is blocked, it would wait for the next program. */
static void take_sigchld(void)
{
	const struct timespec at_once = {0};
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, SIGCHLD);
	sigtimedwait(&one, NULL, &at_once);
}

/* Where SIGCHLD is ignored, this fails once the child is gone. */
static void wait_for_child(pid_t child, bool had_pending)
{
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (!had_pending && has_pending_sigchld())
		take_sigchld();
}

int brief_child(int (*function)(void *data), void *data)
{
	bool had_pending = has_pending_sigchld();
	int answer[2], result;
	pid_t child;

	if (pipe2(answer, O_CLOEXEC) != 0)
		return -errno;
	child = fork();
	if (child == 0) {
		result = function(data);
		_exit(write(answer[1], &result, sizeof(result)) != sizeof(result));
	}
	result = child < 0 ? -errno : -ECHILD;
	close(answer[1]);
	if (child > 0) {
		while (read(answer[0], &result, sizeof(result)) < 0 && errno == EINTR)
			;
		wait_for_child(child, had_pending);
	}
	close(answer[0]);
	return result;
}
