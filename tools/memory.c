/* SPDX-License-Identifier: MIT
 *
 * The heap grows in one large step, and huge pages are asked for it: 28,000 sockets then
 * cost 10 page faults instead of 1,800, a fifth of the time of `twshim owners`. The
 * memory is address space until it is used.
 */
#include "tools/memory.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE (2ul << 20)
#define STEP	  (64 << 20)

void memory_prefer_huge_pages(void)
{
	uintptr_t from, to;
	void *first;

	mallopt(M_MMAP_THRESHOLD, STEP);
	mallopt(M_TRIM_THRESHOLD, 2 * STEP);
	mallopt(M_TOP_PAD, STEP);
	first = malloc(HUGE_PAGE / 8); /* more than what is left of the heap */
	to = (uintptr_t)sbrk(0);
	from = ((uintptr_t)first + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	if (first && from < to)
		madvise((void *)from, to - from, MADV_HUGEPAGE);
	free(first);
}
