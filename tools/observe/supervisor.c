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

#include "tools/observe/brief_child.h"
#include "tools/observe/notify_filter.h"
#include "tools/observe/supervise.h"

#define START_MS  15000 /* on a host whose cores are taken */
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

/* A message within that time; its length, or -1. */
static ssize_t listen_to(const struct supervisor *supervisor, int milliseconds,
			 void *ret_message, size_t size)
{
	struct pollfd polled = {.fd = supervisor->control, .events = POLLIN};

	while (poll(&polled, 1, milliseconds) < 0)
		if (errno != EINTR)
			return -1;
	return recv(supervisor->control, ret_message, size, MSG_DONTWAIT);
}

/* What it says at the end; '\0': nothing. */
static char listen_to_end(const struct supervisor *supervisor)
{
	char said = '\0';

	return listen_to(supervisor, FINISH_MS, &said, 1) == 1 ? said : '\0';
}

static int await_ready(struct supervisor *supervisor, char *ret_error, size_t size)
{
	struct supervise_ready ready = {.why = "it does not start"};

	if (listen_to(supervisor, START_MS, &ready, sizeof(ready)) == sizeof(ready) &&
	    ready.pid > 0) {
		supervisor->pid = ready.pid;
		return 0;
	}
	snprintf(ret_error, size, "the supervisor: %s", ready.why);
	return -ENOTSUP;
}

/* A child that the caller waits for. */
static int fork_beside(void *data)
{
	const struct supervise_setup *inside = data;
	pid_t pid = fork();

	if (pid == 0)
		supervise(inside);
	return pid < 0 ? -errno : pid;
}

static int fork_apart(void *data)
{
	int result = brief_child(fork_beside, data);

	return result < 0 ? result : 0;
}

/* `fork_it` returns the pid of its child or 0, or -errno. */
static int fork_supervisor(struct supervisor *supervisor,
			   const struct supervisor_setup *setup,
			   int (*fork_it)(void *data))
{
	struct supervise_setup inside = {.setup = *setup, .counts = supervisor->counts};
	int control[2], result;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0)
		return -errno;
	supervisor->control = control[0];
	inside.control = control[1];
	result = fork_it(&inside);
	close(control[1]);
	if (result <= 0)
		return result;
	supervisor->pidfd = (int)syscall(SYS_pidfd_open, result, 0);
	return supervisor->pidfd < 0 ? -errno : 0;
}

/* The filter goes with the child that has it. */
static int rehearse(void *data)
{
	int listener = notify_filter_install(0);

	return listener < 0 ? listener : 0;
}

static int start(struct supervisor *supervisor, const struct supervisor_setup *setup,
		 int (*fork_it)(void *data), char *ret_error, size_t size)
{
	int result;

	*supervisor = (struct supervisor){.pidfd = -1, .control = -1};
	result = brief_child(rehearse, NULL);
	if (result != 0) {
		notify_filter_explain(ret_error, size, result);
		return result;
	}
	result = make_counts(supervisor);
	if (result == 0)
		result = fork_supervisor(supervisor, setup, fork_it);
	if (result != 0)
		snprintf(ret_error, size, "the supervisor: %s", strerror(-result));
	else
		result = await_ready(supervisor, ret_error, size);
	if (result != 0)
		supervisor_release(supervisor);
	return result;
}

int supervisor_start(struct supervisor *ret_supervisor,
		     const struct supervisor_setup *setup, char *ret_error, size_t size)
{
	return start(ret_supervisor, setup, fork_beside, ret_error, size);
}

int supervisor_start_apart(struct supervisor *ret_supervisor,
			   const struct supervisor_setup *setup, char *ret_error,
			   size_t size)
{
	return start(ret_supervisor, setup, fork_apart, ret_error, size);
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
		said = listen_to_end(supervisor);
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
