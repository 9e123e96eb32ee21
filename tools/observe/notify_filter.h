/* SPDX-License-Identifier: MIT
 *
 * The seccomp filter of a program that a supervisor observes: which of its system calls
 * wait until the supervisor has looked at them. All others cost nothing.
 */
#ifndef TWS_TOOLS_OBSERVE_NOTIFY_FILTER_H
#define TWS_TOOLS_OBSERVE_NOTIFY_FILTER_H

#include <stdbool.h>

/* Puts the filter on the calling thread and what it starts from now on; it can never be
 * taken off. `closes`: close() waits as well. The descriptor that the calls are read
 * from (close-on-exec); whoever holds it controls those calls. Or -errno, and nothing is
 * changed but, where that was needed, no_new_privs: EBUSY: there is such a filter. */
int notify_filter_install(bool closes);

#endif
