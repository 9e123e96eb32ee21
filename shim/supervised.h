/* SPDX-License-Identifier: MIT
 *
 * Programs that the shim does not reach, at the moment when one is executed: statically
 * linked ones, those in Go and of a libc other than glibc and musl, and set-user-ID ones.
 * If the run has a supervisor, they are executed by its helper (shim/shared/helper.h).
 */
#ifndef TWS_SHIM_SUPERVISED_H
#define TWS_SHIM_SUPERVISED_H

#include <stdbool.h>

#include "shim/book/self.h"
#include "shim/hooks.h"
#include "shim/shared/helper.h"

/* Whether `path` is such a program, or one that may gain privileges, and which this
 * process could execute. Then its variable for the helper is in `exec`. A few system
 * calls. */
TWS_COLD bool tws_supervised_find(const char *path, struct tws_exec *exec);

/* The same of a name that is looked for in PATH. */
TWS_COLD bool tws_supervised_search(const char *file, struct tws_exec *exec);

static inline bool tws_supervised(const char *path, struct tws_exec *exec)
{
	return tws_unlikely(tws_self.helper[0]) && tws_supervised_find(path, exec);
}

static inline bool tws_supervised_file(const char *file, struct tws_exec *exec)
{
	return tws_unlikely(tws_self.helper[0]) && tws_supervised_search(file, exec);
}

#endif
