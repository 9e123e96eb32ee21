/* SPDX-License-Identifier: MIT */
#include "shim/book/single.h"

#include "shim/book/books.h"
#include "shim/book/fds.h"

static const char never;

TWS_HOT_DATA const char *tws_single_mark = &never;

static bool has_forked; /* atomic; this process has made a child that may write too */

#if TWS_CAN_BE_SINGLE
/* Since glibc 2.32. Other C libraries have none, and then it is NULL. */
extern char libc_mark __asm__("__libc_single_threaded") __attribute__((weak));

/* A connection that was inherited is counted in its own book, to which the process that
 * opened it writes as well. */
static bool has_inherited(void)
{
	for (int fd = 0; fd <= tws_fd_highest(); fd++)
		if (tws_fd(fd) & TWS_FD_SLOT &&
		    !tws_book_is_ours(&tws_books[tws_fd(fd) >> 24 & (TWS_BOOKS - 1)]))
			return true;
	return false;
}

/* With more threads than one it is never set, so that no other one can be forking now. */
void tws_single_begin(void)
{
	if (&libc_mark && libc_mark && !has_forked && !has_inherited())
		__atomic_store_n(&tws_single_mark, &libc_mark, __ATOMIC_RELEASE);
}
#else
void tws_single_begin(void)
{
}
#endif

void tws_single_end(void)
{
	has_forked = true;
	__atomic_store_n(&tws_single_mark, &never, __ATOMIC_RELEASE);
}

void tws_single_forked(void)
{
	has_forked = false;
	__atomic_store_n(&tws_single_mark, &never, __ATOMIC_RELEASE);
}
