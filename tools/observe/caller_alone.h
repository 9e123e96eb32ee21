/* SPDX-License-Identifier: MIT
 *
 * Whether anybody else may hold a socket that a program is about to close: what a reset
 * does not spare. The same question as shim/conn/alone.h, asked from outside.
 */
#ifndef TWS_TOOLS_OBSERVE_CALLER_ALONE_H
#define TWS_TOOLS_OBSERVE_CALLER_ALONE_H

#include "tools/observe/caller.h"

/* A number that grows with each child that the process has waited for. */
uint64_t caller_waited_for(const struct caller *caller);

/* Whether `number` is the only descriptor of its socket, as far as can be seen: the
 * process has no child, has waited for none since `waited_for` was asked, and has no
 * second descriptor, no io_uring and no Unix socket to another process. */
bool caller_is_alone(const struct caller *caller, int number, uint64_t waited_for);

#endif
