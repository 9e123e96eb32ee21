/* SPDX-License-Identifier: MIT */
#include "tools/launch/calls.h"

const struct shim_call shim_calls[] = {
#define CALL(name)	{#name, false},
#define RARE_CALL(name) {#name, true},
#include TWSHIM_CALLS
};
const size_t shim_call_count = sizeof(shim_calls) / sizeof(*shim_calls);
