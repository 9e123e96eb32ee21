/* SPDX-License-Identifier: MIT
 *
 * One question to the kernel for each page.
 */
#include "shim/conn/peek.h"

#include <string.h>

#include "shim/book/memory.h"
#include "shim/conn/conn.h"

static bool can_read(uintptr_t at)
{
	return tws_memory_read(at) == 0;
}

bool tws_peek_may(const void *from, size_t size)
{
	uintptr_t at = (uintptr_t)from, last = at + size - 1;

	if (!size)
		return true;
	if (last < at || !tws_conn_plausible(from) || !can_read(at))
		return false;
	for (at = (at | (TWS_PAGE - 1)) + 1; at <= last; at += TWS_PAGE)
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
	if (*page && (uintptr_t)at / TWS_PAGE == *page)
		return true;
	if (!tws_peek_may(at, 1))
		return false;
	*page = (uintptr_t)at / TWS_PAGE;
	return true;
}
