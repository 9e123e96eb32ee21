/* SPDX-License-Identifier: MIT
 *
 * On which core a call wakes the supervisor, and the answer the program. Usually it is
 * one that the kernel finds idle, which has to be told so and has neither side's memory
 * in its caches. But a program that calls with one thread waits for the answer, so the
 * core that it called on is as free as any. With several threads it is not. Linux 6.6 can
 * do this; before it, nothing happens here.
 */
#ifndef TWS_TOOLS_OBSERVE_WAKE_HERE_H
#define TWS_TOOLS_OBSERVE_WAKE_HERE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WAKE_PLACES 64

/* Who called last, by listener. All 0: nobody yet. Where two listeners have one place,
 * the one that is used has it. */
struct wake_here {
	struct wake_place {
		int listener;
		pid_t thread;
		uint32_t in_a_row;
		bool on;
	} place[WAKE_PLACES];
};

/* To be called with the thread of each call that was received from a listener. */
void wake_here_note(struct wake_here *wake, int listener, pid_t thread);

/* The listener is about to be closed. */
void wake_here_drop(struct wake_here *wake, int listener);

#endif
