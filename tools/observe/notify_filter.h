/* SPDX-License-Identifier: MIT
 *
 * The seccomp filter of a program that a supervisor observes: which of its system calls
 * wait until the supervisor has looked at them. All others cost nothing.
 */
#ifndef TWS_TOOLS_OBSERVE_NOTIFY_FILTER_H
#define TWS_TOOLS_OBSERVE_NOTIFY_FILTER_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

/* What waits beside the calls that connect. */
enum notify_also {
	NOTIFY_CLOSE = 1u << 0, /* close() */
	NOTIFY_BIND = 1u << 1,	/* bind() */
};

#define NOTIFY_FILTER_ROOM 128 /* instructions */

/* For seccomp(). The filter confines nothing: without SPEC_ALLOW (Linux 4.17), kernels
 * before 5.16 would guard its program against speculation, and so slow it down. */
#define NOTIFY_FILTER_FLAGS                                                              \
	(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW)

/* Writes the filter's program; returns how many instructions it has. 0: there is none for
 * this machine. Pure. */
unsigned short notify_filter_write(uint32_t also,
				   struct sock_filter ret_code[NOTIFY_FILTER_ROOM]);

/* Puts the filter on the calling thread and what it starts from now on; it can never be
 * taken off. `also`: enum notify_also. The descriptor that the calls are read
 * from (close-on-exec); whoever holds it controls those calls. Or -errno, and nothing is
 * changed but, where that was needed, no_new_privs: EBUSY: there is such a filter. */
int notify_filter_install(uint32_t also);

/* Whether a call that waits may begin a connection; the others are those of
 * enum notify_also. */
bool notify_filter_may_connect(const struct seccomp_data *data);

/* The reason, for a sentence, that such an error stands for; -ECHILD: a process that
 * tried was killed. */
void notify_filter_explain(char *ret_text, size_t size, int error);

#endif
