/* SPDX-License-Identifier: MIT
 *
 * Putting the filter of notify_filter.h on a process that runs, by system calls that it
 * is made to make (inject.h). The filter can never be taken off.
 */
#ifndef TWS_TOOLS_OBSERVE_ATTACH_H
#define TWS_TOOLS_OBSERVE_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Why it must not be tried, in one line with its cure: another user's process, one that
 * is traced, stopped, has the shim or a filter already, is not of this machine, or that
 * the kernel does not let us look into. True: it may be tried, and `ret_gives_up`: the
 * process and all that it starts can then not gain privileges any more. */
bool attach_is_allowed(pid_t process, bool *ret_gives_up, char *ret_error, size_t size);

/* Puts it on all threads. `also`: enum notify_also. The descriptor that the calls are
 * read from, or -errno with a one-line reason; the process then goes on as it was but, if
 * the reason says so, for no_new_privs. To be called with signals blocked. */
int attach_install(pid_t process, uint32_t also, bool gives_up, char *ret_error,
		   size_t size);

#endif
