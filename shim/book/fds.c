/* SPDX-License-Identifier: MIT
 *
 * The storage of the descriptor table.
 */
#include "shim/book/fds.h"

uint32_t tws_fds[TWS_FDS];

TWS_HOT_DATA int tws_fds_highest = -1;

void tws_fd_raise_highest(int fd)
{
	int old = tws_fd_highest();

	while (old < fd &&
	       !__atomic_compare_exchange_n(&tws_fds_highest, &old, fd, true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}
