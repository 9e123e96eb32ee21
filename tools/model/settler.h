/* SPDX-License-Identifier: MIT
 *
 * Settles killed processes while the kernel still knows how their connections ended. It
 * listens to the kernel's destroy messages and writes each verdict of join.h into the
 * slot of the dead process's segment, as exit() would have done. Whoever folds or reads
 * the segment afterwards, with or without a listener, then counts the true ending. A
 * segment can be folded as soon as 512 newer ones are dead, so a command that runs for a
 * while (run, trace, serve) calls settler_look() often.
 */
#ifndef TWS_TOOLS_SETTLER_H
#define TWS_TOOLS_SETTLER_H

#include <stdbool.h>
#include <stddef.h>

struct kernel_listener;
struct kernel_source;
struct settler;

/* Starts to listen. `dir` NULL: the main run-time directory and, for root, those of other
 * users; `only`: without the directories below it. `better`: see
 * kernel_listener_open(). Returns 0, or -errno with a reason of one line. */
int settler_open(struct settler **ret_settler, const char *dir, bool only,
		 const struct kernel_source *better, char *ret_error, size_t size);

/* For poll(POLLIN). */
int settler_fd(const struct settler *settler);

/* Reads messages and, if it is time, settles. Returns after how many milliseconds to call
 * it again; -1: when the descriptor is readable. While messages come, they are to wait:
 * to wake up for each would keep a core busy. */
int settler_look(struct settler *settler);

/* Settles everything that can be settled now. Waits for the last messages, for a few
 * milliseconds, only if something was killed. */
void settler_finish(struct settler *settler);

/* The listener, which is drained by settler_look(). */
struct kernel_listener *settler_listener(struct settler *settler);

/* NULL is allowed. */
void settler_close(struct settler *settler);

#endif
