/* SPDX-License-Identifier: MIT
 *
 * Looks at a book's file if the last look is too long ago.
 */
#include "shim/conn/fresh.h"

#include <errno.h>

#include "shim/book/memory.h"
#include "shim/shared/clock.h"

void tws_freshen_book(struct tws_book *book)
{
	uint64_t now = tws_now();

	if (now - __atomic_load_n(&book->seen_ns, __ATOMIC_RELAXED) <= TWS_FRESH_NS)
		return;
	if (tws_memory_read((uintptr_t)book->probe) == -EFAULT)
		tws_book_lost(book);
	tws_seen(book, now);
}
