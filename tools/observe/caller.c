/* SPDX-License-Identifier: MIT */
#include "tools/observe/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/kernel/proc_file.h"
#include "tools/kernel/process.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
#define TICK_NS 10000000ull

void callers_init(struct callers *callers)
{
	memset(callers->place, 0, sizeof(callers->place));
	observed_init(&callers->observed);
	callers->images = 0;
	callers->root = geteuid() == 0;
}

static void release_caller(struct caller *caller)
{
	if (!caller->thread)
		return;
	if (caller->pidfd >= 0)
		close(caller->pidfd);
	if (caller->memory >= 0)
		close(caller->memory);
	caller->thread = 0;
}

void callers_free(struct callers *callers)
{
	for (size_t i = 0; i < CALLERS; i++)
		release_caller(&callers->place[i]);
	observed_free(&callers->observed);
}

void callers_forget(struct callers *callers, const struct observed *observed)
{
	for (size_t i = 0; i < CALLERS; i++)
		if (callers->place[i].thread && callers->place[i].observed == observed)
			release_caller(&callers->place[i]);
}

bool caller_waits(const struct pending_call *call)
{
	uint64_t id = call->id;

	while (ioctl(call->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) != 0)
		if (errno != EINTR)
			return false;
	return true;
}

/* -------------------------------------------------------------------- who it is */

static bool is_own_user(const char *status)
{
	const char *at = strstr(status, "\nUid:");
	uid_t real, effective, saved;

	return at && sscanf(at, "\nUid: %u %u %u", &real, &effective, &saved) == 3 &&
	       real == geteuid() && effective == geteuid() && saved == geteuid();
}

static pid_t process_of(const char *status)
{
	const char *at = strstr(status, "\nTgid:");
	int process = 0;

	return at && sscanf(at, "\nTgid: %d", &process) == 1 ? process : 0;
}

struct code {
	const char *exe;
	uint64_t *start, *end;
};

static bool take_code(const char *line, const void *data)
{
	const struct code *code = data;
	const char *path = strchr(line, '/');

	size_t length = strlen(code->exe);

	return path && strncmp(path, code->exe, length) == 0 &&
	       (path[length] == '\n' || !path[length]) && strstr(line, " r-xp ") &&
	       sscanf(line, "%" SCNx64 "-%" SCNx64, code->start, code->end) == 2;
}

static void find_shim(struct caller *caller)
{
	char path[64], exe[TWS_EXE_SIZE];
	const struct code code = {exe, &caller->code_start, &caller->code_end};
	ssize_t length;

	caller->code_start = caller->code_end = 0;
	caller->has_shim = process_has_shim(caller->process) > 0;
	if (!caller->has_shim)
		return;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)caller->process);
	length = readlink(path, exe, sizeof(exe) - 1);
	exe[length > 0 ? length : 0] = '\0';
	proc_any_line(caller->process, "maps", '\n', take_code, &code);
}

bool caller_is_counted(const struct caller *caller, uint64_t instruction)
{
	return caller->has_shim &&
	       (instruction < caller->code_start || instruction >= caller->code_end);
}

bool caller_is_replaced(const struct caller *caller)
{
	char byte;

	return caller->has_shim && caller->code_start &&
	       !caller_read(caller, caller->code_start, &byte, 1);
}

/* Linux 6.9 has pidfds of threads; before it, that of the process serves, as long as the
 * number is of one of its threads. */
static void open_pidfd(struct caller *caller)
{
	caller->pidfd = (int)syscall(SYS_pidfd_open, caller->thread, PIDFD_THREAD);
	caller->by_thread = caller->pidfd >= 0;
	if (!caller->by_thread && errno == EINVAL)
		caller->pidfd = (int)syscall(SYS_pidfd_open, caller->process, 0);
}

static void open_memory(struct caller *caller)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)caller->thread);
	caller->memory = open(path, O_RDONLY | O_CLOEXEC);
}

/* Another program in the same process, or the one that was met before. */
static void meet_process(struct callers *callers, struct caller *caller)
{
	struct bpf_process process = {
	    .start_ns = process_start_time(caller->process) * TICK_NS,
	    .tgid = (uint32_t)caller->process,
	    .image = BPF_IMAGE_UNKNOWN,
	};
	struct observed *known = observed_find(&callers->observed, &process), *met;
	char path[64], exe[TWS_EXE_SIZE];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)caller->process);
	length = readlink(path, exe, sizeof(exe) - 1);
	exe[length > 0 ? length : 0] = '\0';
	if (known && (length <= 0 || strcmp(known->subject.exe, exe) == 0)) {
		caller->observed = known;
		return;
	}
	process.image = ++callers->images;
	met = observed_meet(&callers->observed, &process, 0);
	caller->observed = met;
}

static void learn(struct callers *callers, struct caller *caller)
{
	char status[4096];

	caller->observed = NULL;
	caller->left = CALLER_HIDDEN;
	caller->pidfd = caller->memory = -1;
	if (proc_read_of(caller->thread, "status", status, sizeof(status)) != 0)
		return;
	caller->process = process_of(status);
	if (!caller->process || !is_own_user(status))
		return;
	open_pidfd(caller);
	open_memory(caller);
	if (caller->pidfd < 0 || caller->memory < 0)
		return;
	find_shim(caller);
	caller->left = CALLER_OURS;
	meet_process(callers, caller);
}

/* Only root may look into processes of other users, and must not. A thread's users can
 * change at any time. */
static bool is_still_ours(const struct callers *callers, const struct caller *caller)
{
	char status[4096];

	if (!callers->root)
		return true;
	return proc_read_of(caller->thread, "status", status, sizeof(status)) == 0 &&
	       is_own_user(status);
}

/* Whether what is known of it holds. With a pidfd of its own, caller_descriptor() says
 * it. */
static bool is_same_thread(const struct caller *caller)
{
	if (caller->left != CALLER_OURS || !caller->observed)
		return false;
	return caller->by_thread ||
	       syscall(SYS_tgkill, caller->process, caller->thread, 0) == 0;
}

struct caller *caller_find(struct callers *callers, pid_t thread,
			   const struct pending_call *call, bool again)
{
	struct caller *caller = &callers->place[(unsigned)thread % CALLERS];

	if (caller->thread == thread && !again && is_same_thread(caller) &&
	    is_still_ours(callers, caller))
		return caller;
	release_caller(caller);
	caller->thread = thread;
	learn(callers, caller);
	if (caller_waits(call))
		return caller;
	release_caller(caller);
	return NULL;
}

int caller_descriptor(const struct caller *caller, int fd)
{
	int copy = (int)syscall(SYS_pidfd_getfd, caller->pidfd, fd, 0);

	return copy < 0 ? -errno : copy;
}

bool caller_read(const struct caller *caller, uint64_t address, void *ret_bytes,
		 size_t size)
{
	return pread(caller->memory, ret_bytes, size, (off_t)address) == (ssize_t)size;
}
