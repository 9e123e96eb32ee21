/* SPDX-License-Identifier: MIT
 *
 * What `twshim run` can still say about a command that nothing observes: the TIME_WAIT
 * sockets without an owner that have appeared since it was started.
 */
#ifndef TWS_TOOLS_RUN_UNSEEN_H
#define TWS_TOOLS_RUN_UNSEEN_H

#include <stddef.h>
#include <stdint.h>

/* The clock that the kernel's timers go by, in nanoseconds: where ticks come late, as on
 * a busy virtual machine, so does this one (CLOCK_MONOTONIC_COARSE). */
uint64_t run_unseen_now(void);

/* "meanwhile 20 TIME_WAIT sockets without an owner appeared, of whatever program: 20 to
 * 10.0.0.7:6379". Those of known applications, incoming ones, and those from before
 * `began_ns` are left out. */
void run_unseen_describe(char *ret_text, size_t size, uint64_t began_ns);

#endif
