/* SPDX-License-Identifier: MIT */
#include "tools/observe/descriptors_close.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* close_range() may be forbidden by a filter: one end of a socket that stays open by
 * mistake would keep the other from ending. */
static void close_from_to(unsigned first, unsigned last)
{
	unsigned most = (unsigned)sysconf(_SC_OPEN_MAX);

	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return;
	for (unsigned fd = first; fd <= last && fd < most; fd++)
		close((int)fd);
}

void descriptors_close_others(int *wanted, size_t count)
{
	unsigned next = 3;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	qsort(wanted, count, sizeof(*wanted), compare);
	for (size_t i = 0; i < count; i++) {
		if (wanted[i] < (int)next)
			continue;
		close_from_to(next, (unsigned)wanted[i] - 1);
		fcntl(wanted[i], F_SETFD, FD_CLOEXEC);
		next = (unsigned)wanted[i] + 1;
	}
	close_from_to(next, ~0u);
}
