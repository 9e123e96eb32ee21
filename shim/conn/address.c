/* SPDX-License-Identifier: MIT
 *
 * Addresses of sockets, as the segment has them.
 */
#include <netinet/in.h>
#include <string.h>

#include "shim/conn/conn.h"
#include "shim/shared/sys.h"

bool tws_conn_address_ipv6(const struct sockaddr_in6 *in6, socklen_t length,
			   struct tws_address *ret_address)
{
	memset(ret_address, 0, sizeof(*ret_address));
	if (length < 24 || in6->sin6_family != AF_INET6)
		return false;
	ret_address->port = ntohs(in6->sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		ret_address->family = TWS_IPV4;
		memcpy(ret_address->bytes, &in6->sin6_addr.s6_addr[12], 4);
		return true;
	}
	ret_address->family = TWS_IPV6;
	memcpy(ret_address->bytes, &in6->sin6_addr, 16);
	return true;
}

bool tws_conn_name(int fd, long call, struct tws_address *ret_address)
{
	struct sockaddr_storage address;
	uint32_t length = sizeof(address);

	memset(&address, 0, sizeof(address));
	if (tws_sys3(call, fd, &address, &length) == 0 &&
	    tws_conn_address((void *)&address, length, ret_address))
		return true;
	memset(ret_address, 0, sizeof(*ret_address));
	return false;
}
