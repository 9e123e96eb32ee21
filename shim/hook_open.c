/* SPDX-License-Identifier: MIT
 *
 * How connections are born: socket, bind, listen. connect() has files of its own.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "shim/conn/alone.h"
#include "shim/conn/conn_move.h"
#include "shim/conn/fresh.h"
#include "shim/conn/peek.h"
#include "shim/hooks.h"
#include "shim/own_book.h"
#include "shim/policy/policy.h"
#include "shim/lifecycle.h"
#include "shim/shared/clock.h"
#include "shim/shared/hot.h"

static TWS_COLD void gone_unseen(int fd)
{
	tws_freshen(fd);
	tws_conn_vanished(fd, tws_fd(fd));
}

static inline void made(int fd, uint32_t word)
{
	uint32_t stale = tws_fd(fd);

	if ((!stale && !word) || (unsigned)fd >= TWS_FDS || !tws_may_work())
		return;
	if (tws_unlikely(stale))
		gone_unseen(fd);
	if (word)
		tws_alone_step();
	tws_fd_set(fd, word);
}

TWS_HOT void tws_hook_made(int fd, uint32_t word)
{
	made(fd, word);
}

TWS_HOT void tws_hook_socket(int fd, int domain, int type, int protocol)
{
	uint32_t word = 0;

	if ((domain == AF_INET || domain == AF_INET6) && (type & 0xf) == SOCK_STREAM &&
	    (protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP))
		word = TWS_FD_SOCKET | (domain == AF_INET6 ? TWS_CONN_IPV6 : 0) |
		       (protocol == IPPROTO_MPTCP ? TWS_CONN_MPTCP : 0);
	made(fd, word);
}

static bool is_port_0(const struct sockaddr *address, socklen_t length)
{
	return length >= sizeof(struct sockaddr_in) &&
	       ((const struct sockaddr_in *)(const void *)address)->sin_port == 0;
}

static bool policy_concerns(void)
{
	return tws_policy_active(tws_now()) && tws_policy_concerns(NULL);
}

/* The policy is mapped with the book, at the first connection. A client that binds to
 * port 0 before must not wait for that. A fixed port is nearly always a server's, which
 * is not to pay for a look: see tws_hook_bind_again(). */
void tws_hook_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	bool first = !__atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE);

	if (!tws_fd(fd) || length > sizeof(struct sockaddr_storage) || !tws_may_work() ||
	    (!first && !policy_concerns()) || !tws_peek_may(address, length))
		return;
	if (first && is_port_0(address, length))
		tws_policy_seek();
	if (first && !policy_concerns())
		return;
	tws_freshen(fd);
	tws_apply_bind(fd, is_port_0(address, length));
}

bool tws_hook_bind_again(int fd, int error)
{
	if (error != EADDRINUSE || !tws_fd(fd) || !tws_may_work())
		return false;
	tws_policy_seek();
	return policy_concerns() && tws_apply_bind_again(fd);
}

/* If the program set IP_BIND_ADDRESS_NO_PORT before, connect() picks the port, for
 * that destination alone. That is not an early bind. */
void tws_hook_bound(int fd, const struct sockaddr *address, socklen_t length)
{
	uint32_t set = TWS_CONN_APP_BOUND;

	if (!tws_fd(fd) || !tws_may_work())
		return;
	tws_freshen(fd);
	if (is_port_0(address, length) && !(tws_conn_flags(fd) & TWS_CONN_APP_NO_PORT))
		set |= TWS_CONN_APP_BOUND_0;
	tws_conn_flags_change(fd, set, 0);
}

/* A process whose every bind() fails has no connection, but it must be visible: so it
 * gets a book. */
void tws_hook_bind_failed(int fd, int error)
{
	if (!tws_fd(fd) || error == EFAULT || !tws_may_work() || !tws_book_own())
		return;
	tws_count_process(error == EADDRINUSE ? TWS_bind_failed_in_use
					      : TWS_bind_failed_other);
}

/* Under late_bind the socket has no port yet. A program that asks which one it has is
 * about to listen on it, or to tell a peer, so it gets one now. */
void tws_hook_getsockname(int fd)
{
	uint32_t word = tws_fd(fd);

	if (tws_unlikely(word & TWS_FD_SOCKET && word & TWS_CONN_LATE_BIND) &&
	    tws_may_work() && tws_apply_bind_now(fd))
		tws_conn_flags_change(fd, 0, TWS_CONN_LATE_BIND);
}

void tws_hook_listening(int fd)
{
	if (tws_fd(fd) & TWS_FD_SOCKET && tws_may_work())
		tws_fd_set(fd, 0);
}
