/* SPDX-License-Identifier: MIT
 *
 * What a policy's way to close risks, in one sentence, for everybody who advises or shows
 * it.
 */
#ifndef TWS_TOOLS_RISK_H
#define TWS_TOOLS_RISK_H

#include "shim/shared/policy_image.h"

/* Measured: the kernel answers the ACK of our FIN with a reset. */
#define RISK_FIN_RESET                                                                   \
	"the server can still read all data and EOF, but poll() also shows POLLHUP and " \
	"POLLERR (a server that gives up at POLLERR loses what it has not read), "       \
	"SO_ERROR is EPIPE, getpeername() fails, and its first send() fails"

/* How to find out whether that matters. */
#define RISK_TRIAL                                                                       \
	"try the rule on a share first (add sample=10) and watch the server's error log"

/* Returns the risk of closing in this way, or NULL if there is none. Pure. */
const char *risk_of_close(uint32_t close_mode);

#endif
