/* SPDX-License-Identifier: MIT
 *
 * The calls: a page of its own for the filter's program, because below its stack another
 * thread may have something (Go); no_new_privs, where the kernel wants it; seccomp() for
 * all threads at once; then what was made is closed and unmapped.
 */
#include "tools/observe/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tools/observe/inject.h"
#include "tools/observe/notify_filter.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
#define PAGE 4096ul
#define FLAGS                                                                            \
	(NOTIFY_FILTER_FLAGS | SECCOMP_FILTER_FLAG_TSYNC |                               \
	 SECCOMP_FILTER_FLAG_TSYNC_ESRCH)

static long call(struct injection *injection, long number, unsigned long first,
		 unsigned long second, unsigned long third)
{
	const unsigned long arguments[6] = {first, second, third};

	return inject_call(injection, number, arguments);
}

static long map_page(struct injection *injection)
{
	const unsigned long arguments[6] = {
	    0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, ~0ul, 0};

	return inject_call(injection, SYS_mmap, arguments);
}

static bool is_error(long result)
{
	return result < 0 && result >= -4095;
}

/* The program's head as the process reads it, and its instructions behind it. */
static int write_program(const struct injection *injection, unsigned long page,
			 uint32_t also)
{
	struct {
		struct sock_fprog head;
		struct sock_filter code[NOTIFY_FILTER_ROOM];
	} program;
	struct iovec here = {&program, sizeof(program)};
	struct iovec there = {(void *)page, sizeof(program)};

	_Static_assert(sizeof(program) <= PAGE, "it fits into the page");
	memset(&program, 0, sizeof(program));
	program.head.len = notify_filter_write(also, program.code);
	program.head.filter = (void *)(page + sizeof(program.head));
	return process_vm_writev(injection->thread, &here, 1, &there, 1, 0) ==
		       (ssize_t)sizeof(program)
		   ? 0
		   : -EFAULT;
}

static long put_on(struct injection *injection, unsigned long page)
{
	long fd = call(injection, SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		       FLAGS | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, page);

	return fd == -EINVAL
		   ? call(injection, SYS_seccomp, SECCOMP_SET_MODE_FILTER, FLAGS, page)
		   : fd;
}

/* -EBADF where we may take the descriptors that there are. */
static int take_descriptor(int pidfd, int fd)
{
	int ret = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	return ret < 0 ? -errno : ret;
}

static int open_pidfd(const struct injection *injection, pid_t process)
{
	int pidfd = (int)syscall(SYS_pidfd_open, injection->thread, PIDFD_THREAD);

	if (pidfd < 0 && errno == EINVAL)
		pidfd = (int)syscall(SYS_pidfd_open, process, 0);
	return pidfd < 0 ? -errno : pidfd;
}

/* With the page there. The listener, or -errno; `ret_stage` says what failed. */
static int install_with(struct injection *injection, int pidfd, unsigned long page,
			uint32_t also, bool gives_up, const char **ret_stage)
{
	long result = write_program(injection, page, also);
	int listener;

	if (result != 0)
		return (int)result;
	if (gives_up) {
		result = call(injection, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0);
		if (is_error(result))
			return (int)result;
		*ret_stage = "; it has no_new_privs now";
	}
	result = put_on(injection, page);
	if (is_error(result))
		return (int)result;
	listener = take_descriptor(pidfd, (int)result);
	/* Not close(), which may be one of the calls that wait for a supervisor now. */
	if (listener >= 0)
		call(injection, SYS_close_range, (unsigned long)result,
		     (unsigned long)result, 0);
	return listener;
}

static int install(struct injection *injection, int pidfd, uint32_t also, bool gives_up,
		   const char **ret_stage)
{
	int listener = take_descriptor(pidfd, INT_MAX);
	long page;

	if (listener != -EBADF)
		return listener < 0 ? listener : -EPERM;
	page = map_page(injection);
	if (is_error(page))
		return (int)page;
	listener = install_with(injection, pidfd, (unsigned long)page, also, gives_up,
				ret_stage);
	call(injection, SYS_munmap, (unsigned long)page, PAGE, 0);
	return listener;
}

static const char *explain(int error)
{
	switch (-error) {
	case EAGAIN:
		return "all its threads are in calls that must not be interrupted, or "
		       "stopped: try again";
	case ENOTSUP:
		return "only programs of x86-64 can be attached to";
	case EPERM:
		return "the kernel does not let us look into it: see ptrace(2)";
	case EMFILE:
		return "it has no free descriptor";
	case EBUSY:
		return "it has a filter of this kind already";
	case ESRCH:
		return "it has ended, or its threads have filters of their own";
	default:
		return strerror(-error);
	}
}

int attach_install(pid_t process, uint32_t also, bool gives_up, char *ret_error,
		   size_t size)
{
	const char *stage = "";
	struct injection injection;
	int result = inject_begin(&injection, process);

	if (result == 0) {
		int pidfd = open_pidfd(&injection, process);

		result = pidfd < 0 ? pidfd
				   : install(&injection, pidfd, also, gives_up, &stage);
		inject_end(&injection);
		if (pidfd >= 0)
			close(pidfd);
	}
	if (result < 0)
		snprintf(ret_error, size, "%s%s", explain(result), stage);
	return result;
}
