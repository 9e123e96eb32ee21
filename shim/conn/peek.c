/* SPDX-License-Identifier: MIT
 *
 * The question is a futex call that wakes and moves no waiter. It compares a word, which
 * the kernel has to read, and fails with EFAULT if it cannot. Every process may make
 * this call, because libc's locks do; it never waits, and it changes nothing.
 */
#include "shim/conn/peek.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>

#include "shim/conn/conn.h"

#define PAGE 4096u /* the smallest page size there is */

static bool can_read(uintptr_t at)
{
	static uint32_t nobody;
	long ret = tws_sys6(SYS_futex, (long)(at & ~3UL), FUTEX_CMP_REQUEUE_PRIVATE, 0, 0,
			    TWS_ARG(&nobody), 0);

	return ret >= 0 || ret == -EAGAIN;
}

bool tws_peek_may(const void *from, size_t size)
{
	uintptr_t at = (uintptr_t)from, last = at + size - 1;

	if (!size)
		return true;
	if (last < at || !tws_conn_plausible(from) || !can_read(at))
		return false;
	for (at = (at | (PAGE - 1)) + 1; at <= last; at += PAGE)
		if (!can_read(at))
			return false;
	return true;
}

bool tws_peek(void *to, const void *from, size_t size)
{
	if (!tws_peek_may(from, size))
		return false;
	memcpy(to, from, size);
	return true;
}

bool tws_peek_next(uintptr_t *page, const void *at)
{
	if (*page && (uintptr_t)at / PAGE == *page)
		return true;
	if (!tws_peek_may(at, 1))
		return false;
	*page = (uintptr_t)at / PAGE;
	return true;
}
