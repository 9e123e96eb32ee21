/* SPDX-License-Identifier: MIT
 *
 * How commands that run until they are interrupted end: on SIGINT, SIGTERM or SIGHUP they
 * finish what they are printing and exit with status 0.
 */
#ifndef TWS_TOOLS_INTERRUPT_H
#define TWS_TOOLS_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

/* From now on these signals, which are returned, are noticed only in interrupt_wait() or
 * by a signalfd. Threads that start later block them too. */
const sigset_t *interrupt_begin(void);

/* Waits for that many seconds. True: interrupted, and the command should end. */
bool interrupt_wait(double seconds);

#endif
