/* SPDX-License-Identifier: MIT
 *
 * The exported wrappers' prototypes, from wrapped.def. Each is named tws_wrap_NAME in C
 * and NAME to the linker, so that libc's headers, with their macros, redirections and
 * attributes, do not interfere. vfork and dlopen are in hook_process.c.
 */
#ifndef TWS_SHIM_ENTRY_H
#define TWS_SHIM_ENTRY_H

#include <errno.h>
#include <fcntl.h>

#include "shim/hooks.h"
#include "shim/real.h"

#define WRAP_required(ret, name, params, args)                                           \
	ret tws_wrap_##name params __asm__(#name) __attribute__((visibility("defaul"     \
									    "t")));
#define WRAP_optional(ret, name, params, args) WRAP_required(ret, name, params, args)
#define WRAP_variadic(ret, name, params, args) WRAP_required(ret, name, params, args)
#include "shim/wrapped.def"

/* The error of a call that answers -1 in errno; 0: it succeeded. */
static inline int error_of(long result)
{
	return tws_unlikely(result == -1) ? errno : 0;
}

/* TCP Fast Open: a send that connects. */
static inline bool opens_connection(int fd, int flags)
{
	return flags & MSG_FASTOPEN && tws_fd(fd);
}

/* The commands of fcntl() that copy a descriptor. */
static inline bool copies_descriptor(int command)
{
	return command == F_DUPFD || command == F_DUPFD_CLOEXEC;
}

/* After fcntl(fd, command, argument) returned `ret`. */
static inline void note_fcntl(int fd, int command, long argument, int ret)
{
	if (ret >= 0 && copies_descriptor(command))
		tws_hook_copied(fd, ret);
	else if (ret == 0 && command == F_SETFD && !(argument & FD_CLOEXEC))
		tws_hook_kept_over_exec(fd);
}

#endif
