/* SPDX-License-Identifier: MIT
 *
 * A child that does one thing and ends. Its parent is about to become another program,
 * which must not find a trace of it.
 */
#ifndef TWS_TOOLS_OBSERVE_BRIEF_CHILD_H
#define TWS_TOOLS_OBSERVE_BRIEF_CHILD_H

/* What the function returned in the child; -ECHILD: the child was killed; or -errno. It
 * leaves neither a zombie nor a signal that waits. To be called with one thread. */
int brief_child(int (*function)(void *data), void *data);

#endif
