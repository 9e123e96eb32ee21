/* SPDX-License-Identifier: MIT
 *
 * The thread is stopped where the kernel is about to return from a system call or to
 * begin one: never in the middle of user code, which may be one that the kernel must know
 * when it is interrupted (rseq). The calls are made by the instruction that is there.
 * Signals are blocked meanwhile, and SIGTRAP is never sent. The last stop is one in which
 * the kernel still decides whether a call is begun anew, so that a signal that comes in
 * between has its usual effect.
 */
#include "tools/observe/inject.h"

#include <errno.h>

#if defined(__x86_64__)

#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "tools/kernel/proc_file.h"

#define SHORT_LOOKS    200   /* most stops come within microseconds */
#define LONG_LOOKS     10000 /* two seconds or so */
#define PAUSE_NS       200000
#define SYSCALL_STOP   (SIGTRAP | 0x80)
#define INSTRUCTION    2   /* bytes: 0f 05 */
#define RESTART_NOHAND 514 /* as in linux/errno.h */

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

/* Calls that a stop does not shorten: they have done nothing yet, or begin anew. Writes
 * are not among them, nor what waits until a buffer is full. */
static const struct {
	long number;
	int flags; /* the argument that must not have MSG_WAITALL; -1: none */
} PATIENT[] = {
    {SYS_futex, -1},
    {SYS_nanosleep, -1},
    {SYS_clock_nanosleep, -1},
    {SYS_poll, -1},
    {SYS_ppoll, -1},
    {SYS_select, -1},
    {SYS_pselect6, -1},
    {SYS_epoll_wait, -1},
    {SYS_epoll_pwait, -1},
    {SYS_epoll_pwait2, -1},
    {SYS_pause, -1},
    {SYS_rt_sigsuspend, -1},
    {SYS_restart_syscall, -1},
    {SYS_wait4, -1},
    {SYS_waitid, -1},
    {SYS_rt_sigtimedwait, -1},
    {SYS_accept, -1},
    {SYS_accept4, -1},
    {SYS_read, -1},
    {SYS_recvfrom, 3},
    {SYS_recvmsg, 2},
};

bool inject_is_possible(void)
{
	return true;
}

static bool is_patient(long number, const unsigned long arguments[6])
{
	for (size_t i = 0; i < sizeof(PATIENT) / sizeof(*PATIENT); i++)
		if (PATIENT[i].number == number)
			return PATIENT[i].flags < 0 ||
			       !(arguments[PATIENT[i].flags] & MSG_WAITALL);
	return false;
}

/* ----------------------------------------------------------- which thread is taken */

enum suitability { UNSUITABLE, RUNNING, WAITING };

static enum suitability judge_thread(pid_t process, pid_t thread)
{
	unsigned long argument[6];
	char name[64], text[512];
	long number;

	snprintf(name, sizeof(name), "task/%d/syscall", (int)thread);
	if (proc_read_of(process, name, text, sizeof(text)) != 0)
		return UNSUITABLE;
	if (strncmp(text, "running", strlen("running")) == 0)
		return RUNNING;
	if (sscanf(text, "%ld %lx %lx %lx %lx %lx %lx", &number, &argument[0],
		   &argument[1], &argument[2], &argument[3], &argument[4],
		   &argument[5]) != 7)
		return UNSUITABLE;
	return is_patient(number, argument) ? WAITING : UNSUITABLE;
}

/* 0: there is none. */
static pid_t choose_thread(pid_t process)
{
	enum suitability best = UNSUITABLE, each;
	struct dirent *entry;
	pid_t found = 0, thread;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)process);
	dir = opendir(path);
	while (dir && best < WAITING && (entry = readdir(dir)) != NULL) {
		thread = (pid_t)strtol(entry->d_name, NULL, 10);
		each = thread > 0 ? judge_thread(process, thread) : UNSUITABLE;
		if (each > best) {
			best = each;
			found = thread;
		}
	}
	if (dir)
		closedir(dir);
	return found;
}

/* -------------------------------------------------------------------------- stops */

static long ask(enum __ptrace_request request, pid_t thread, unsigned long address,
		void *data)
{
	return ptrace(request, thread, (void *)address, data);
}

/* The next stop's status, or -errno: -ESRCH: it has ended; -ETIMEDOUT. */
static int await_stop(pid_t thread)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int status;

	for (unsigned looks = 0; looks < SHORT_LOOKS + LONG_LOOKS; looks++) {
		pid_t result = waitpid(thread, &status, __WALL | WNOHANG);

		if (result == thread)
			return WIFSTOPPED(status) ? status : -ESRCH;
		if (result < 0)
			return -ESRCH;
		if (looks < SHORT_LOOKS)
			sched_yield();
		else
			nanosleep(&pause, NULL);
	}
	return -ETIMEDOUT;
}

static bool is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

static bool is_syscall_stop(int status)
{
	return WSTOPSIG(status) == SYSCALL_STOP;
}

/* Goes on until there is a stop of that kind; signals on the way are delivered, but for a
 * SIGSTOP while calls are made. A thread that runs already is waited for. 0 or -errno. */
static int go_on_until(pid_t thread, enum __ptrace_request request,
		       bool (*wanted)(int status), bool *stopped_meanwhile)
{
	unsigned long signal = 0;
	int status;

	for (;;) {
		if (ask(request, thread, 0, (void *)signal) != 0 && errno != ESRCH)
			return -errno;
		status = await_stop(thread);
		if (status < 0)
			return status;
		if (wanted(status))
			return 0;
		signal = status >> 16 ? 0 : (unsigned long)WSTOPSIG(status);
		if (stopped_meanwhile && signal == SIGSTOP) {
			*stopped_meanwhile = true;
			signal = 0;
		}
	}
}

/* Without going on before: the stop that was asked for. */
static int await_event_stop(pid_t thread)
{
	int status = await_stop(thread);

	if (status < 0)
		return status;
	if (is_event_stop(status))
		return WSTOPSIG(status) == SIGTRAP ? 0 : -EAGAIN; /* it is stopped */
	if (ask(PTRACE_CONT, thread, 0,
		(void *)(status >> 16 ? 0ul : (unsigned long)WSTOPSIG(status))) != 0)
		return -errno;
	return await_event_stop(thread);
}

/* --------------------------------------------------------------------- where it is */

static bool is_before_call(pid_t thread, const struct user_regs_struct *registers)
{
	unsigned char code[INSTRUCTION];
	struct iovec here = {code, sizeof(code)};
	struct iovec there = {(void *)(registers->rip - INSTRUCTION), sizeof(code)};

	return process_vm_readv(thread, &here, 1, &there, 1, 0) == INSTRUCTION &&
	       code[0] == 0x0f && code[1] == 0x05 && registers->cs == 0x33;
}

/* The kernel returns from a call: what it says of one that was interrupted it still
 * decides, depending on whether a signal comes. */
static bool is_returning(struct injection *injection)
{
	struct user_regs_struct *registers = &injection->resume;
	const unsigned long arguments[6] = {registers->rdi, registers->rsi,
					    registers->rdx, registers->r10,
					    registers->r8,  registers->r9};

	if ((long)registers->orig_rax < 0 ||
	    !is_before_call(injection->thread, registers))
		return false;
	if ((long)registers->rax == -EINTR &&
	    is_patient((long)registers->orig_rax, arguments))
		registers->rax = (unsigned long)-RESTART_NOHAND;
	return true;
}

/* The call that it is about to make is left out, and made when it goes on. */
static int stop_before_call(struct injection *injection)
{
	struct user_regs_struct *registers = &injection->resume, left_out;
	pid_t thread = injection->thread;
	int result = go_on_until(thread, PTRACE_SYSCALL, is_syscall_stop, NULL);

	if (result != 0 || ask(PTRACE_GETREGS, thread, 0, registers) != 0)
		return result ? result : -errno;
	if (!is_before_call(thread, registers))
		return -ENOTSUP;
	left_out = *registers;
	left_out.orig_rax = (unsigned long)-1;
	registers->rip -= INSTRUCTION;
	registers->rax = registers->orig_rax;
	registers->orig_rax = (unsigned long)-1;
	return ask(PTRACE_SETREGS, thread, 0, &left_out) == 0
		   ? go_on_until(thread, PTRACE_SYSCALL, is_syscall_stop, NULL)
		   : -errno;
}

static int find_place(struct injection *injection)
{
	pid_t thread = injection->thread;
	bool returns;
	int result = 0;

	if (ask(PTRACE_GETREGS, thread, 0, &injection->resume) != 0)
		return -errno;
	returns = is_returning(injection);
	if (!returns)
		result = stop_before_call(injection);
	if (result != 0)
		return result;
	injection->at = injection->resume;
	if (returns)
		injection->at.rip -= INSTRUCTION;
	injection->at.orig_rax = (unsigned long)-1;
	return 0;
}

static int block_signals(struct injection *injection)
{
	uint64_t all = ~UINT64_C(0);

	if (ask(PTRACE_GETSIGMASK, injection->thread, sizeof(all), &injection->mask) != 0)
		return -errno;
	return ask(PTRACE_SETSIGMASK, injection->thread, sizeof(all), &all) ? -errno : 0;
}

/* ------------------------------------------------------------------------ the whole */

/* From any stop to one in which the kernel decides about restarts. */
static int stop_finally(pid_t thread, bool *stopped_meanwhile)
{
	if (ask(PTRACE_INTERRUPT, thread, 0, NULL) != 0)
		return -errno;
	return go_on_until(thread, PTRACE_CONT, is_event_stop, stopped_meanwhile);
}

/* It goes on as it was; one that did not stop is stopped for that. */
static int give_up(const struct injection *injection, int error)
{
	pid_t thread = injection->thread;

	if (ask(PTRACE_DETACH, thread, 0, NULL) == 0 || errno != ESRCH)
		return error;
	if (ask(PTRACE_INTERRUPT, thread, 0, NULL) == 0) {
		await_event_stop(thread);
		ask(PTRACE_DETACH, thread, 0, NULL);
	}
	return error;
}

int inject_begin(struct injection *ret_injection, pid_t process)
{
	struct injection *injection = ret_injection;
	int result;

	*injection = (struct injection){.thread = choose_thread(process)};
	if (!injection->thread)
		return -EAGAIN;
	if (ask(PTRACE_SEIZE, injection->thread, 0, (void *)PTRACE_O_TRACESYSGOOD) != 0)
		return -errno;
	result = ask(PTRACE_INTERRUPT, injection->thread, 0, NULL) ? -errno : 0;
	if (result == 0)
		result = await_event_stop(injection->thread);
	if (result == 0)
		result = find_place(injection);
	if (result == -ETIMEDOUT)
		result = -EAGAIN;
	if (result == 0)
		result = block_signals(injection);
	return result ? give_up(injection, result) : 0;
}

long inject_call(struct injection *injection, long number,
		 const unsigned long arguments[6])
{
	struct user_regs_struct registers = injection->at;
	pid_t thread = injection->thread;
	int result;

	registers.rax = (unsigned long)number;
	registers.rdi = arguments[0];
	registers.rsi = arguments[1];
	registers.rdx = arguments[2];
	registers.r10 = arguments[3];
	registers.r8 = arguments[4];
	registers.r9 = arguments[5];
	if (ask(PTRACE_SETREGS, thread, 0, &registers) != 0)
		return -errno;
	for (int stop = 0; stop < 2; stop++) {
		result = go_on_until(thread, PTRACE_SYSCALL, is_syscall_stop,
				     &injection->stopped_meanwhile);
		if (result != 0)
			return result;
	}
	if (ask(PTRACE_GETREGS, thread, 0, &registers) != 0)
		return -errno;
	return (long)registers.rax;
}

void inject_end(struct injection *injection)
{
	pid_t thread = injection->thread;

	if (stop_finally(thread, &injection->stopped_meanwhile) != 0)
		return;
	ask(PTRACE_SETREGS, thread, 0, &injection->resume);
	ask(PTRACE_SETSIGMASK, thread, sizeof(injection->mask), &injection->mask);
	ask(PTRACE_DETACH, thread, 0,
	    (void *)(injection->stopped_meanwhile ? (unsigned long)SIGSTOP : 0ul));
}

#else

bool inject_is_possible(void)
{
	return false;
}

int inject_begin(struct injection *ret_injection, pid_t process)
{
	return -ENOTSUP;
}

long inject_call(struct injection *injection, long number,
		 const unsigned long arguments[6])
{
	return -ENOTSUP;
}

void inject_end(struct injection *injection)
{
}

#endif
