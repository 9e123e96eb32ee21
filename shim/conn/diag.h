/* SPDX-License-Identifier: MIT
 *
 * Asks the kernel (sock_diag(7), without privilege) whether a connection lives on after
 * our last descriptor has gone, because another process holds it. This costs four system
 * calls, and is only done for connections that may be shared.
 */
#ifndef TWS_SHIM_DIAG_H
#define TWS_SHIM_DIAG_H

#include "shim/shared/segment.h"

/* The TCP state (1 to 11; 6 is TIME_WAIT) of the socket with these addresses and this
 * cookie; 0 if there is none; a negative errno if the kernel cannot be asked here. */
int tws_diag_state(const struct tws_address *local, const struct tws_address *remote,
		   uint64_t cookie);

#endif
