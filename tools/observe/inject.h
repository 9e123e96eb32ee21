/* SPDX-License-Identifier: MIT
 *
 * System calls that a running thread of another process is made to make, by ptrace, and
 * after which it goes on as if nothing had happened: its code and its memory are not
 * touched, its registers and signal mask are what they were, and a call that it waited in
 * goes on. For programs of x86-64.
 */
#ifndef TWS_TOOLS_OBSERVE_INJECT_H
#define TWS_TOOLS_OBSERVE_INJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct injection {
	pid_t thread;
	struct user_regs_struct at;	/* where it makes a call */
	struct user_regs_struct resume; /* as it is to go on */
	uint64_t mask;			/* its signals that were blocked */
	bool stopped_meanwhile;		/* a SIGSTOP came, which it still is to get */
};

/* Whether this can be done on this machine. */
bool inject_is_possible(void);

/* Stops a thread of the process at a system call that it can be interrupted in, or that
 * it is about to make. 0, or -errno, and then the process goes on as it was: -EPERM: the
 * kernel forbids it; -EAGAIN: it has no such thread now; -ENOTSUP: it is not a program of
 * this machine. */
int inject_begin(struct injection *ret_injection, pid_t process);

/* Has it make a call, and returns the result; -ESRCH: it has ended. */
long inject_call(struct injection *injection, long number,
		 const unsigned long arguments[6]);

/* Lets it go on. */
void inject_end(struct injection *injection);

#endif
