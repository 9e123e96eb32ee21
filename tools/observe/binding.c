/* SPDX-License-Identifier: MIT */
#include "tools/observe/binding.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "shim/shared/clock.h"
#include "shim/shared/segment.h"
#include "tools/kernel/kernel.h"

#define RANGE_NS 1000000000ull /* for which the range is believed */

uint16_t binding_port(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} address = {.in6 = {0}};
	socklen_t length = sizeof(address);

	if (getsockname(fd, &address.any, &length) != 0)
		return 0;
	return ntohs(address.any.sa_family == AF_INET ? address.in.sin_port
						      : address.in6.sin6_port);
}

static struct binding_known *place_of(struct binding *binding, uint64_t cookie)
{
	return &binding->known[cookie % BINDING_KNOWN];
}

void binding_note_late(struct binding *binding, uint64_t cookie)
{
	*place_of(binding, cookie) = (struct binding_known){cookie, true};
}

void binding_note_used(struct binding *binding, uint64_t cookie)
{
	*place_of(binding, cookie) = (struct binding_known){cookie, false};
}

static bool is_handed_out(struct binding *binding, uint16_t port)
{
	uint64_t now = tws_now();

	if (!binding->read_ns || now - binding->read_ns > RANGE_NS) {
		kernel_port_range(&binding->low, &binding->high);
		binding->read_ns = now;
	}
	return port >= binding->low && port <= binding->high;
}

uint32_t binding_flags(struct binding *binding, int fd, uint64_t cookie)
{
	const struct binding_known *known = place_of(binding, cookie);
	const bool is_known = known->cookie == cookie;
	uint16_t port = binding_port(fd);

	if (is_known && !known->late)
		return 0;
	if (port)
		return TWS_CONN_APP_BOUND |
		       (is_handed_out(binding, port) ? TWS_CONN_APP_BOUND_0 : 0);
	if (!is_known)
		return 0;
	return TWS_CONN_APP_BOUND | TWS_CONN_APP_BOUND_0 | TWS_CONN_LATE_BIND;
}
