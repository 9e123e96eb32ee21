/* SPDX-License-Identifier: MIT
 *
 * Descriptors in SCM_RIGHTS messages. A connection that is sent may be held by another
 * process from then on. A connection that is received was opened elsewhere.
 */
#include <netinet/in.h>

#include "shim/conn/fresh.h"
#include "shim/hooks.h"
#include "shim/own_book.h"
#include "shim/lifecycle.h"
#include "shim/book/history.h"
#include "shim/shared/clock.h"
#include "shim/shared/sys.h"

static void share(int fd)
{
	if (!(tws_fd(fd) & TWS_FD_SLOT) || !tws_may_work())
		return;
	tws_freshen(fd);
	tws_conn_flags_change(fd, TWS_CONN_SHARED, 0);
}

/* A connected TCP socket from elsewhere is counted as adopted and not looked at again:
 * its ending belongs to the process that opened it. */
static void adopt(int fd)
{
	struct tws_address remote;
	struct tws_book *book;

	tws_hook_made(fd, 0);
	if (!tws_may_work() || !tws_conn_ask_socket(fd) ||
	    !tws_conn_name(fd, SYS_getpeername, &remote))
		return;
	book = tws_book_own();
	if (book)
		tws_history_adopted(book, &remote, tws_now());
}

/* The lengths are 64 bits wide for glibc and 32 for musl, where the upper half is padding
 * that a program leaves as it is. The kernel takes no length that needs more than 32. */
static uint32_t length_of(const struct cmsghdr *at)
{
	return (uint32_t)at->cmsg_len;
}

/* The first header that lies at `at` or behind it; NULL: there is none. If its length is
 * impossible, the kernel answers EINVAL, and we must not step beyond the message. */
static const struct cmsghdr *whole_header(const struct msghdr *message, const char *at)
{
	const struct cmsghdr *header = (const struct cmsghdr *)(const void *)at;
	const char *control = message->msg_control;
	size_t left = (uint32_t)message->msg_controllen - (size_t)(at - control);

	if (left > (uint32_t)message->msg_controllen || left < sizeof(*header))
		return NULL;
	return length_of(header) >= CMSG_LEN(0) && length_of(header) <= left ? header
									     : NULL;
}

static void each_right(const struct msghdr *message, void (*act)(int fd))
{
	const struct cmsghdr *at;

	if (!tws_conn_plausible(message) || !tws_conn_plausible(message->msg_control))
		return;
	for (at = whole_header(message, message->msg_control); at;
	     at = whole_header(message, (const char *)at + CMSG_ALIGN(length_of(at)))) {
		const int *fds = (const int *)(const void *)(at + 1);
		size_t count = (length_of(at) - CMSG_LEN(0)) / sizeof(int);

		if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++)
			act(fds[i]);
	}
}

/* TCP connections carry no SCM_RIGHTS. */
void tws_hook_rights_sent(int fd, const struct msghdr *message)
{
	if (tws_fd_highest() >= 0 && !tws_fd(fd))
		each_right(message, share);
}

void tws_hook_rights_received(struct msghdr *message)
{
	each_right(message, adopt);
}
