/* SPDX-License-Identifier: MIT
 *
 * Asks the kernel (sock_diag(7), no privilege) whether a connection lives on after our
 * last descriptor went: another process may hold it. For connections that may be shared
 * only; four system calls.
 */
#ifndef TWS_SHIM_DIAG_H
#define TWS_SHIM_DIAG_H

#include "shim/shared/segment.h"

/* The TCP state (1 to 11; 6 is TIME_WAIT) of the socket with these addresses and cookie;
 * 0: there is none; negative errno: cannot be asked here. */
int tws_diag_state(const struct tws_address *local, const struct tws_address *remote,
		   uint64_t cookie);

#endif
