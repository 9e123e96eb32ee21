/* SPDX-License-Identifier: MIT
 *
 * The observations: one system call per connection, or two with bytes. poll() does not
 * lock the socket, and costs a third of TCP_INFO and SIOCINQ.
 */
#include "shim/conn/facts.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "shim/conn/conn.h"
#include "shim/shared/tcp_state.h"

#define LEVEL_TCP 6

static uint32_t queue_length(int fd, unsigned long request)
{
	int length = 0;

	return tws_sys3(SYS_ioctl, fd, request, &length) == 0 && length > 0
		   ? (uint32_t)length
		   : 0;
}

uint32_t tws_facts_unsent(int fd, uint32_t flags)
{
	uint32_t queued = queue_length(fd, SIOCOUTQ);

	return flags & TWS_CONN_SHUT_WRITE && queued ? queued - 1 : queued;
}

/* The kernel's tcp_info has grown: a field exists if the answer is long enough for it. */
#define HAS(length, field)                                                               \
	((length) >= offsetof(struct tcp_info, field) + sizeof(info->field))

static void read_bytes(const struct tcp_info *info, uint32_t length,
		       struct tws_bytes *ret_bytes)
{
	if (!HAS(length, tcpi_bytes_retrans))
		return;
	ret_bytes->sent = tcp_state_bytes_sent(info);
	ret_bytes->received = info->tcpi_bytes_received;
}

static void read_info(int fd, struct tws_facts *facts, struct tws_bytes *ret_bytes)
{
	struct tcp_info info = {0};
	uint32_t length = sizeof(info);

	if (tws_getsockopt(fd, LEVEL_TCP, TCP_INFO, &info, &length) != 0)
		return;
	facts->has_info = true;
	facts->tcp_state = info.tcpi_state;
	facts->acknowledged = length >= offsetof(struct tcp_info, tcpi_bytes_acked) + 8 &&
			      info.tcpi_bytes_acked > 0;
	facts->syn_sent = length < offsetof(struct tcp_info, tcpi_segs_out) + 4 ||
			  info.tcpi_segs_out > 0;
	facts->unsent = length >= offsetof(struct tcp_info, tcpi_notsent_bytes) + 4 &&
			info.tcpi_notsent_bytes > 0;
	read_bytes(&info, length, ret_bytes);
}

bool tws_facts_is_unborn(int fd)
{
	struct tws_facts facts = {0};
	struct tws_bytes bytes;

	read_info(fd, &facts, &bytes);
	return facts.has_info && facts.tcp_state == STATE_CLOSE && !facts.acknowledged;
}

static void note_events(int events, struct tws_facts *facts)
{
	facts->writable = events & POLLOUT;
	facts->readable = events & POLLIN;
	facts->urgent = events & POLLPRI;
	facts->peer_closed = events & POLLRDHUP;
	facts->hung_up = events & POLLHUP;
	facts->error = events & POLLERR;
}

/* The pending error distinguishes a refused connect from a dropped connection. Nobody
 * notices that it was consumed, but only if the last descriptor is closed. */
static void read_error(int fd, struct tws_facts *facts)
{
	int error = 0;
	uint32_t length = sizeof(error);

	if (tws_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
		return;
	facts->socket_error = error;
	facts->error =
	    error; /* an entry in the error queue is not an error of the connection */
}

/* The kernel counts the peer's FIN as one byte received. A connection in state CLOSE
 * after our own shutdown, without an error, got there by the peer's FIN. */
static bool fin_received(const struct tws_facts *facts)
{
	return tcp_state_has_fin((uint8_t)facts->tcp_state) ||
	       (facts->tcp_state == STATE_CLOSE && facts->flags & TWS_CONN_SHUT_WRITE &&
		!facts->socket_error);
}

/* poll() reports "readable" only from SO_RCVLOWAT bytes on, and SIOCINQ stops at an
 * urgent byte, but close() sends RST for any unread byte. */
static void read_unread(int fd, bool detail, struct tws_facts *facts)
{
	bool asked = facts->flags & TWS_CONN_LOW_WATER;

	if (detail)
		asked |= facts->peer_closed || fin_received(facts);
	else
		asked |= facts->has_info || (facts->peer_closed && !facts->hung_up);
	if (facts->has_info && facts->tcp_state == STATE_CLOSE)
		return;
	facts->unread = asked ? queue_length(fd, SIOCINQ) : facts->readable;
	if (facts->urgent && !facts->unread)
		facts->unread = 1;
}

void tws_facts_read(int fd, bool detail, bool last, int events, struct tws_facts *facts,
		    struct tws_bytes *ret_bytes)
{
	if (detail)
		read_info(fd, facts, ret_bytes);
	if (!facts->has_info || facts->tcp_state != STATE_CLOSE)
		note_events(events < 0 ? tws_facts_poll(fd) : events, facts);
	if (!detail && tws_ending_needs_info(facts))
		read_info(fd, facts, ret_bytes);
	read_unread(fd, detail, facts);
	if (last && facts->has_info && facts->tcp_state == STATE_CLOSE &&
	    (detail || facts->error || !facts->established))
		read_error(fd, facts);
	if (!detail)
		*ret_bytes = (struct tws_bytes){
		    0,
		    0}; /* known only for some connections, so it must not be added up */
	else if (ret_bytes->received && fin_received(facts))
		ret_bytes->received--;
}
