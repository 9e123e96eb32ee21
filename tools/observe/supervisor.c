/* SPDX-License-Identifier: MIT
 *
 * Starting and ending it, from outside. supervise.c is its inside.
 */
#include "tools/observe/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/observe/supervise.h"

#define START_MS  5000
#define FINISH_MS 3000

static int make_counts(struct supervisor *supervisor)
{
	void *memory = mmap(NULL, sizeof(*supervisor->counts), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	supervisor->counts = memory;
	return 0;
}

/* What it says within that time; '\0': nothing. */
static char listen_to(const struct supervisor *supervisor, int milliseconds)
{
	struct pollfd polled = {.fd = supervisor->control, .events = POLLIN};
	char said = '\0';

	while (poll(&polled, 1, milliseconds) < 0)
		if (errno != EINTR)
			return '\0';
	return recv(supervisor->control, &said, 1, MSG_DONTWAIT) == 1 ? said : '\0';
}

static int fork_supervisor(struct supervisor *supervisor,
			   const struct supervisor_setup *setup)
{
	struct supervise_setup inside = {.setup = *setup, .counts = supervisor->counts};
	int control[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0)
		return -errno;
	supervisor->control = control[0];
	supervisor->pid = fork();
	if (supervisor->pid == 0) {
		inside.control = control[1];
		supervise(&inside);
	}
	close(control[1]);
	if (supervisor->pid < 0)
		return -errno;
	supervisor->pidfd = (int)syscall(SYS_pidfd_open, supervisor->pid, 0);
	if (supervisor->pidfd < 0)
		return -errno;
	return listen_to(supervisor, START_MS) == SUPERVISE_READY ? 0 : -ENOTSUP;
}

int supervisor_start(struct supervisor *ret_supervisor,
		     const struct supervisor_setup *setup, char *ret_error, size_t size)
{
	struct supervisor *supervisor = ret_supervisor;
	int result;

	*supervisor = (struct supervisor){.pidfd = -1, .control = -1};
	result = make_counts(supervisor);
	if (result == 0)
		result = fork_supervisor(supervisor, setup);
	if (result == 0)
		return 0;
	snprintf(ret_error, size, "seccomp user notification: %s: Linux 5.9 has it",
		 strerror(-result));
	supervisor_release(supervisor);
	return result;
}

static void wait_for_end(const struct supervisor *supervisor)
{
	struct pollfd polled = {.fd = supervisor->pidfd, .events = POLLIN};

	poll(&polled, 1, FINISH_MS);
	waitpid(supervisor->pid, NULL, WNOHANG);
}

enum supervisor_end supervisor_finish(struct supervisor *supervisor)
{
	const char finish = SUPERVISE_FINISH;
	char said = '\0';

	if (send(supervisor->control, &finish, 1, MSG_NOSIGNAL) == 1)
		said = listen_to(supervisor, FINISH_MS);
	close(supervisor->control);
	supervisor->control = -1;
	if (said == SUPERVISE_STAYS)
		return SUPERVISOR_STAYS;
	if (said != SUPERVISE_ENDS)
		return SUPERVISOR_DEAD;
	wait_for_end(supervisor);
	return SUPERVISOR_ENDED;
}

void supervisor_release(struct supervisor *supervisor)
{
	if (supervisor->control >= 0)
		close(supervisor->control);
	if (supervisor->pidfd >= 0)
		close(supervisor->pidfd);
	if (supervisor->counts)
		munmap(supervisor->counts, sizeof(*supervisor->counts));
	*supervisor = (struct supervisor){.pidfd = -1, .control = -1};
}
