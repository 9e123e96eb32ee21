/* SPDX-License-Identifier: MIT
 *
 * How a process that was forked leaves the one that forked it.
 */
#ifndef TWS_TOOLS_OBSERVE_OWN_SESSION_H
#define TWS_TOOLS_OBSERVE_OWN_SESSION_H

#include <stddef.h>

/* A session of its own: neither the terminal's keys nor its end reach it. It keeps these
 * descriptors only (it sorts the list), and may open as many as it is allowed to.
 * KEEPER_SIGNAL and SIGALRM interrupt it, and other signals wait. */
void own_session(const char *name, int *wanted, size_t count);

/* A number that is another one after each signal that interrupted. */
int own_session_interruptions(void);

#endif
