/* SPDX-License-Identifier: MIT
 *
 * Why a command may have run without the shim although it was given to it.
 */
#ifndef TWS_TOOLS_BYPASS_H
#define TWS_TOOLS_BYPASS_H

#include <stdbool.h>
#include <stddef.h>

/* Looks for programs that take LD_PRELOAD away or connect past it: in the words of a
 * command (`command` is its argv joined by blanks) and in the script that argv names.
 * False: there are none; otherwise `ret_why` names one and what it does. */
bool bypass_explain(const char *command, char *const *argv, char *ret_why, size_t size);

#endif
