/* SPDX-License-Identifier: MIT
 *
 * What the program says about its own sockets: options, shutdown, and the outcome of a
 * non-blocking connect that it asks for by SO_ERROR.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include "shim/shared/clock.h"
#include "shim/conn/conn_move.h"
#include "shim/conn/fresh.h"
#include "shim/connect.h"
#include "shim/hooks.h"
#include "shim/policy/policy.h"
#include "shim/lifecycle.h"
#include "shim/shared/newer.h"
#include "shim/shared/sys.h"

static void count_call(int fd, enum tws_counter counter)
{
	struct tws_conn conn = tws_conn_of(tws_fd(fd));

	if (conn.book && tws_conn_state(conn.slot) != TWS_CONN_CLAIMED)
		tws_conn_count(&conn, counter, 1);
}

static void note_linger(int fd, const struct linger *linger)
{
	struct tws_conn conn = tws_conn_of(tws_fd(fd));
	uint32_t both = TWS_CONN_APP_LINGER_0 | TWS_CONN_APP_LINGER_N;
	uint32_t set = 0;

	if (linger->l_onoff)
		set =
		    linger->l_linger == 0 ? TWS_CONN_APP_LINGER_0 : TWS_CONN_APP_LINGER_N;
	tws_conn_flags_change(fd, set, both & ~set);
	count_call(fd, TWS_setsockopt_linger);
	if (set == TWS_CONN_APP_LINGER_0) {
		count_call(fd, TWS_setsockopt_linger_zero);
		if (conn.book && tws_conn_state(conn.slot) != TWS_CONN_CLAIMED)
			tws_apply_app_linger(fd, &conn);
	}
}

static void note_socket_option(int fd, int name, const void *value, socklen_t length)
{
	if (name == SO_LINGER && length >= sizeof(struct linger)) {
		tws_freshen(fd);
		note_linger(fd, value);
	} else if (name == SO_REUSEADDR && length >= sizeof(int)) {
		bool on = *(const int *)value;

		tws_freshen(fd);
		tws_conn_flags_change(fd, on ? TWS_CONN_APP_REUSEADDR : 0,
				      on ? 0 : TWS_CONN_APP_REUSEADDR);
		count_call(fd, TWS_setsockopt_reuseaddr);
	} else if (name == SO_RCVLOWAT && length >= sizeof(int)) {
		bool above = *(const int *)value > 1;

		tws_freshen(fd);
		tws_conn_flags_change(fd, above ? TWS_CONN_LOW_WATER : 0,
				      above ? 0 : TWS_CONN_LOW_WATER);
	}
}

/* The kernel reads an int, or one byte; no bytes mean 0. */
static void note_bind_no_port(int fd, const void *value, socklen_t length)
{
	bool on = length >= sizeof(int) ? *(const int *)value != 0
		  : length > 0		? *(const unsigned char *)value != 0
					: false;

	tws_freshen(fd);
	tws_conn_flags_change(fd, on ? TWS_CONN_APP_NO_PORT : 0,
			      on ? 0 : TWS_CONN_APP_NO_PORT);
}

static void note_tcp_option(int fd, uint32_t flag)
{
	tws_freshen(fd);
	tws_conn_flags_change(fd, flag, 0);
}

void tws_hook_streamed(int fd)
{
	if (tws_fd(fd) && tws_may_work())
		note_tcp_option(fd, TWS_CONN_STREAM);
}

void tws_hook_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	if (!tws_fd(fd) || !value || !tws_may_work())
		return;
	if (level == SOL_SOCKET)
		note_socket_option(fd, name, value, length);
	else if (level == IPPROTO_TCP && name == TCP_LINGER2)
		note_tcp_option(fd, TWS_CONN_APP_LINGER2);
	else if (level == IPPROTO_TCP && name == TCP_FASTOPEN_CONNECT)
		note_tcp_option(fd, TWS_CONN_FASTOPEN_CONNECT);
	else if (level == IPPROTO_IP && name == IP_BIND_ADDRESS_NO_PORT)
		note_bind_no_port(fd, value, length);
}

/* SO_ERROR is 0 after a connect that succeeded, but also if the program asks too
 * early. So this is a belief, which is verified when the connection ends. */
void tws_hook_getsockopt(int fd, int level, int name, const void *value,
			 const socklen_t *length)
{
	struct tws_conn conn;
	int error;

	if (level != SOL_SOCKET || name != SO_ERROR || !tws_fd(fd) ||
	    *length < sizeof(error) || !tws_may_work())
		return;
	tws_freshen(fd);
	conn = tws_conn_of(tws_fd(fd));
	if (!conn.book)
		return;
	error = *(const int *)value;
	if (!error)
		tws_conn_believe(&conn, tws_now());
	else if (tws_conn_state(conn.slot) == TWS_CONN_CONNECTING)
		tws_conn_fail(&conn, error);
	else if (conn.slot->flags & TWS_CONN_BELIEVED)
		tws_conn_disbelieve(&conn, error);
}

static bool peer_has_closed(int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLRDHUP};
	struct timespec now = {0};

	return tws_sys5(SYS_ppoll, &pollfd, 1, &now, 0, 8) == 1 &&
	       pollfd.revents & POLLRDHUP;
}

void tws_hook_shutdown(int fd, int how, struct tws_conn *ret_conn, bool *ret_peer_first)
{
	ret_conn->book = NULL;
	*ret_peer_first = false;
	if (!(tws_fd(fd) & TWS_FD_SLOT) || !tws_may_work())
		return;
	tws_freshen(fd);
	*ret_conn = tws_conn_of(tws_fd(fd));
	if (how == SHUT_RD || !ret_conn->book ||
	    ret_conn->slot->flags & TWS_CONN_SHUT_WRITE)
		return;
	*ret_peer_first =
	    peer_has_closed(fd) && !(ret_conn->slot->flags & TWS_CONN_SHUT_READ);
}

/* Where the socket was still connecting, the kernel gives the attempt up, and the socket
 * may connect again. A thread that waits in connect() is told, and counts it as failed.
 */
static bool gave_up(int fd, const struct tws_conn *conn)
{
	const struct tws_connection *slot = conn->slot;
	struct tws_end end = {
	    .fd = fd,
	    .conn = *conn,
	    .verdict = {.ending = TWS_END_ABANDONED, .failure = TWS_COUNTERS}};

	if (tws_conn_state(slot) == TWS_CONN_CONNECTING
		? slot->flags & TWS_CONN_UNNAMED
		: !(slot->flags & TWS_CONN_BELIEVED))
		return false;
	if (!tws_facts_is_unborn(fd))
		return false;
	tws_connect_dissolved(&end);
	return true;
}

void tws_hook_shut(int fd, const struct tws_conn *conn, int how, bool peer_first)
{
	uint32_t flags = how == SHUT_RD ? 0 : TWS_CONN_SHUT_WRITE;
	uint32_t before;

	if (!conn->book || gave_up(fd, conn))
		return;
	if (how != SHUT_WR)
		flags |= TWS_CONN_SHUT_READ;
	if (peer_first)
		flags |= TWS_CONN_PEER_FIRST;
	before = __atomic_fetch_or(&conn->slot->flags, flags, __ATOMIC_RELAXED);
	if (flags & ~before & TWS_CONN_SHUT_WRITE && !peer_first &&
	    tws_conn_state(conn->slot) != TWS_CONN_CLAIMED)
		tws_conn_count(conn, TWS_shut_down_first, 1);
}
