/* SPDX-License-Identifier: MIT
 *
 * The keeper of a supervisor: a second process that holds the same listeners. While the
 * supervisor works, it does nothing. If the supervisor is stopped or hangs, it lets
 * waiting calls pass until the supervisor goes on; if the supervisor dies, for ever. So
 * no program ever waits for a supervisor that does not answer, or is refused its calls.
 */
#ifndef TWS_TOOLS_OBSERVE_KEEPER_H
#define TWS_TOOLS_OBSERVE_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KEEPER_LISTENERS    256
#define KEEPER_NOTIFICATION 512	    /* bytes; the kernel's is smaller */
#define KEEPER_SIGNAL	    SIGUSR1 /* interrupts the supervisor's ioctl() */

/* In memory that both share. */
struct keeper_page {
	uint64_t beats; /* atomic; calls that the supervisor has answered */
	/* Atomic; what the keeper let pass: connects, and what a policy wants to see. */
	uint64_t passed, passed_closes;
	/* The kernel writes the call here that the supervisor receives; empty again once
	 * it is answered. */
	uint64_t notification[KEEPER_NOTIFICATION / 8];
};

struct keeper {
	struct keeper_page *page;
	int control; /* to the keeper */
	int pidfd;   /* readable once it is dead */
	pid_t pid;
};

/* Starts one for the listeners that there are; also after one has died, in the same
 * `keeper`. To be called with one thread. 0 or -errno. */
int keeper_start(struct keeper *keeper, const int *listeners, size_t count);

/* Gives it one more, and waits so long for its answer. False: it does not have it. */
bool keeper_give(const struct keeper *keeper, int listener, int patience_ms);

/* From now on every so many milliseconds a signal that interrupts receiving; 0: none. */
void keeper_set_timer(long milliseconds);

/* Lets a call pass that was received from the listener. 0, or -errno: -ENOENT: it does
 * not wait any more. */
int keeper_pass(int listener, uint64_t id);

#endif
