/* SPDX-License-Identifier: MIT */
#include "tools/observe/former.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tools/observe/bpf.h"
#include "tools/observe/call.h"
#include "shim/shared/tcp_state.h"

bool former_read(struct former_socket *ret_socket, int fd,
		 const struct open_connection *former)
{
	socklen_t length = sizeof(ret_socket->info);
	int unsent = 0;

	*ret_socket = (struct former_socket){.unsent = false};
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ret_socket->info, &length) != 0)
		return false;
	ret_socket->unsent = !former->established_ns &&
			     ret_socket->info.tcpi_state == STATE_CLOSE &&
			     ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent == 0;
	return true;
}

/* An attempt that sent nothing may have been interrupted by a signal before it began.
 * What goes to where there is no route, or is followed by an attempt to go elsewhere, has
 * failed. In another network namespace there may be other routes. */
bool former_goes_on(const struct former_socket *socket,
		    const struct open_connection *former, const struct tws_address *to,
		    bool elsewhere)
{
	if (socket->info.tcpi_state != STATE_CLOSE)
		return true;
	return socket->unsent && memcmp(&former->remote, to, sizeof(*to)) == 0 &&
	       (elsewhere || !bpf_map_route_error(to));
}

static void end_failed(const struct former_socket *socket,
		       const struct open_connection *former, uint64_t now)
{
	const struct publish_connection failed = {
	    .cookie = former->cookie,
	    .ended_ns = now,
	    .ending = former->established_ns ? TWS_END_RESET_APP : TWS_END_FAILED,
	    .failure = socket->unsent ? supervision_unsent_failure(&former->remote)
				      : TWS_failed_other,
	};

	publish_ended(former->published, &failed);
}

static void end_dissolved(const struct tcp_info *info,
			  const struct open_connection *former, uint64_t now)
{
	const bool attempt =
	    info->tcpi_state == STATE_SYN_SENT || info->tcpi_state == STATE_SYN_RECV;
	const struct publish_connection dissolved = {
	    .cookie = former->cookie,
	    .established_ns =
		former->established_ns ? former->established_ns : former->began_ns,
	    .local = former->local,
	    .ended_ns = now,
	    .ending = attempt ? TWS_END_ABANDONED : TWS_END_RESET_APP,
	    .bytes_sent = tcp_state_bytes_sent(info),
	    .bytes_received =
		info->tcpi_bytes_received - tcp_state_has_fin(info->tcpi_state),
	};

	publish_ended(former->published, &dissolved);
}

void former_end(const struct former_socket *socket, const struct open_connection *former,
		bool dissolved, uint64_t now)
{
	if (dissolved && socket->info.tcpi_state != STATE_CLOSE)
		end_dissolved(&socket->info, former, now);
	else
		end_failed(socket, former, now);
}
