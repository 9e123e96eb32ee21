/* SPDX-License-Identifier: MIT
 *
 * The one instance of struct tws_self.
 */
#include "shim/book/self.h"

#include "shim/shared/sys.h"

struct tws_self tws_self __attribute__((aligned(64)));

void tws_self_know_pid(void)
{
	if (!__atomic_load_n(&tws_self.pid, __ATOMIC_RELAXED))
		__atomic_store_n(&tws_self.pid, (int32_t)tws_sys1(SYS_getpid, 0),
				 __ATOMIC_RELAXED);
}
