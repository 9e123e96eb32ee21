/* SPDX-License-Identifier: MIT
 *
 * What a supervisor does for a policy while a close() of a program waits: as the shim
 * does it in its place (shim/policy/apply_close.c). It can't wait until a socket is
 * drained, because all programs would wait with it.
 */
#ifndef TWS_TOOLS_OBSERVE_POLICY_AT_CLOSE_H
#define TWS_TOOLS_OBSERVE_POLICY_AT_CLOSE_H

#include "tools/observe/caller.h"
#include "tools/observe/open_table.h"

/* `fd` is our copy of the descriptor `number`, which the caller is about to close.
 * `usual_linger2`: what TCP_LINGER2 says of a socket where nobody set it. Notes in
 * `open` how the connection will end, if that can be known. */
void policy_at_close(struct open_connection *open, const struct caller *caller, int fd,
		     int number, int usual_linger2);

#endif
