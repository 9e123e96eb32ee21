/* SPDX-License-Identifier: MIT */
#include "tools/observe/binding.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/shared/clock.h"
#include "tools/kernel/kernel.h"

#define RANGE_NS 1000000000ull /* for which the range is believed */

union name {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* Its port, in network order; 0: none. */
static uint16_t read_name(int fd, union name *ret_name)
{
	socklen_t length = sizeof(*ret_name);

	if (getsockname(fd, &ret_name->any, &length) != 0)
		return 0;
	return ret_name->any.sa_family == AF_INET ? ret_name->in.sin_port
						  : ret_name->in6.sin6_port;
}

uint16_t binding_port(int fd)
{
	union name name = {.in6 = {0}};

	return ntohs(read_name(fd, &name));
}

uint8_t binding_addresses(int fd, const struct tws_address *to,
			  struct inet_diag_sockid *ret_id)
{
	union name name = {.in6 = {0}};
	uint16_t port = read_name(fd, &name);
	bool ipv6 = to->family == TWS_IPV6;

	if (!port || name.any.sa_family != (ipv6 ? AF_INET6 : AF_INET))
		return 0;
	*ret_id = (struct inet_diag_sockid){.idiag_sport = port,
					    .idiag_dport = htons(to->port)};
	memcpy(ret_id->idiag_src,
	       ipv6 ? (void *)&name.in6.sin6_addr : (void *)&name.in.sin_addr,
	       ipv6 ? sizeof(name.in6.sin6_addr) : sizeof(name.in.sin_addr));
	memcpy(ret_id->idiag_dst, to->bytes, ipv6 ? 16 : 4);
	return (uint8_t)name.any.sa_family;
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
