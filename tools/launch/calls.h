/* SPDX-License-Identifier: MIT
 *
 * The system calls that the shim makes itself, which a filter of system calls must allow.
 * The list is made from the shim's sources: shim/calls.awk.
 */
#ifndef TWS_TOOLS_CALLS_H
#define TWS_TOOLS_CALLS_H

#include <stdbool.h>
#include <stddef.h>

struct shim_call {
	const char *name; /* as in syscalls(2) and SystemCallFilter= */
	bool rare;	  /* made only if a setting asks for it: see TWS_RARELY */
};

extern const struct shim_call shim_calls[];
extern const size_t shim_call_count;

#endif
