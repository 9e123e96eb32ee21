/* SPDX-License-Identifier: MIT
 *
 * The connection that a socket already has, or had, when its program calls connect() on
 * it once more: whether it goes on, and how it ended if not. The socket lives on, so the
 * kernel has no last words.
 */
#ifndef TWS_TOOLS_OBSERVE_FORMER_H
#define TWS_TOOLS_OBSERVE_FORMER_H

#include <linux/tcp.h>

#include "tools/observe/open_table.h"

struct former_socket {
	struct tcp_info info;
	bool unsent; /* it sent nothing */
};

/* False: the socket does not say. */
bool former_read(struct former_socket *ret_socket, int fd,
		 const struct open_connection *former);

/* A second call on the same socket: to learn the outcome of the first, because a signal
 * interrupted it, or because the first attempt failed (false). `elsewhere`: in another
 * network namespace. */
bool former_goes_on(const struct former_socket *socket,
		    const struct open_connection *former, const struct tws_address *to,
		    bool elsewhere);

/* Publishes that it has failed, or what AF_UNSPEC did (`dissolved`): it resets what is
 * established, and gives up an attempt. */
void former_end(const struct former_socket *socket, const struct open_connection *former,
		bool dissolved, uint64_t now);

#endif
