/* SPDX-License-Identifier: MIT
 *
 * The questions are futex() calls that wake and move no waiter. Every process may make
 * them, because libc's locks do, and every kernel knows them.
 */
#include "shim/book/memory.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>

#include "shim/shared/newer.h"
#include "shim/shared/sys.h"

long tws_memory_read(uintptr_t at)
{
	static uint32_t nobody;
	long ret = tws_sys6(SYS_futex, (long)(at & ~3UL), FUTEX_CMP_REQUEUE_PRIVATE, 0, 0,
			    TWS_ARG(&nobody), 0);

	return ret == -EAGAIN || ret > 0 ? 0 : ret;
}

/* Sets no bit of a word, atomically: the kernel has to make the page writable. */
static bool write_nothing(uintptr_t at)
{
	static uint32_t nobody;
	const long change = FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0);

	return tws_sys6(SYS_futex, TWS_ARG(&nobody), FUTEX_WAKE_OP_PRIVATE, 0, 0,
			(long)(at & ~3UL), change) >= 0;
}

/* madvise() does it in one call, but not before Linux 5.14, nor behind a filter that
 * does not know this advice. */
bool tws_memory_back(void *from, uint64_t size)
{
	uintptr_t at = (uintptr_t)from & ~(uintptr_t)(TWS_PAGE - 1);
	uintptr_t end = (uintptr_t)from + size;
	long ret = tws_sys3(SYS_madvise, at, end - at, MADV_POPULATE_WRITE);

	if (ret == 0 || ret == -EFAULT)
		return ret == 0;
	for (; at < end; at += TWS_PAGE)
		if (!write_nothing(at))
			return false;
	return true;
}
