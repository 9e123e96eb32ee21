/* SPDX-License-Identifier: MIT
 *
 * Prototypes of the exported wrappers, made from wrapped.def. Each is named
 * tws_wrap_NAME in C and NAME for the linker, so that the macros, redirections and
 * attributes of libc's headers do not interfere. vfork and dlopen are in hook_process.c.
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

/* The errno of a call that returned -1, or 0 if it succeeded. */
static inline int error_of(long result)
{
	return tws_unlikely(result == -1) ? errno : 0;
}

/* Whether this send opens a connection, by TCP Fast Open. */
static inline bool opens_connection(int fd, int flags)
{
	return flags & MSG_FASTOPEN && tws_fd(fd);
}

/* Whether this command of fcntl() copies a descriptor. */
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
