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
		tws_add(&book->destinations[tws_book_destination(book, &remote)]
			     .counters.value[TWS_adopted],
			1);
}

/* Checks a header as the kernel will. If its length is impossible, the kernel answers
 * EINVAL, and we must not step beyond the message. */
static bool is_whole(const struct msghdr *message, const struct cmsghdr *at)
{
	size_t before = (size_t)((const char *)at - (const char *)message->msg_control);

	return at->cmsg_len >= CMSG_LEN(0) &&
	       at->cmsg_len <= message->msg_controllen - before;
}

static void each_right(const struct msghdr *message, void (*act)(int fd))
{
	struct msghdr *header = (struct msghdr *)(uintptr_t)message;

	if (!tws_conn_plausible(message) || !tws_conn_plausible(message->msg_control))
		return;
	for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at && is_whole(header, at);
	     at = CMSG_NXTHDR(header, at)) {
		const int *fds = (const int *)(const void *)CMSG_DATA(at);
		size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);

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
