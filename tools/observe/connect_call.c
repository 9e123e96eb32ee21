/* SPDX-License-Identifier: MIT */
#include "tools/observe/connect_call.h"

#include <linux/audit.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define I386_SOCKETCALL 102
#define I386_CONNECT	362
#define I386_SENDTO	369

static bool is_i386(const struct seccomp_data *data)
{
	return data->arch == AUDIT_ARCH_I386;
}

/* msghdr begins with the address and its length. */
static bool read_message(const struct caller *caller, const struct seccomp_data *data,
			 struct connect_call *ret_call)
{
	struct {
		uint64_t name;
		uint32_t length;
	} wide;
	struct {
		uint32_t name, length;
	} narrow;

	if (is_i386(data)) {
		if (!caller_read(caller, data->args[1], &narrow, sizeof(narrow)))
			return false;
		ret_call->address = narrow.name;
		ret_call->length = narrow.length;
		return true;
	}
	if (!caller_read(caller, data->args[1], &wide, sizeof(wide.name) + 4))
		return false;
	ret_call->address = wide.name;
	ret_call->length = wide.length;
	return true;
}

static bool read_socketcall(const struct caller *caller, const struct seccomp_data *data,
			    struct connect_call *ret_call)
{
	uint32_t words[3];

	if (!caller_read(caller, data->args[1], words, sizeof(words)))
		return false;
	*ret_call = (struct connect_call){
	    .fd = (int)words[0], .address = words[1], .length = words[2]};
	return true;
}

/* x32 marks its numbers with a high bit. */
bool connect_call_is(const struct seccomp_data *data, int native, int i386)
{
	return is_i386(data) ? data->nr == i386 : (data->nr & 0xffff) == native;
}

bool connect_call_read(const struct caller *caller, const struct seccomp_data *data,
		       struct connect_call *ret_call)
{
	*ret_call = (struct connect_call){.fd = (int)data->args[0]};
	if (connect_call_is(data, SYS_connect, I386_CONNECT)) {
		ret_call->address = data->args[1];
		ret_call->length = (uint32_t)data->args[2];
		return true;
	}
	if (is_i386(data) && data->nr == I386_SOCKETCALL)
		return read_socketcall(caller, data, ret_call);
	ret_call->fast_open = true;
	if (!connect_call_is(data, SYS_sendto, I386_SENDTO))
		return read_message(caller, data, ret_call);
	ret_call->address = data->args[4];
	ret_call->length = (uint32_t)data->args[5];
	return true;
}

bool connect_call_destination(const struct caller *caller, struct connect_call *call,
			      struct tws_address *ret_address, bool *ret_gone)
{
	union {
		sa_family_t family;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} address = {.in6 = {0}};
	size_t length = call->length < sizeof(address) ? call->length : sizeof(address);

	*ret_gone = !caller_read(caller, call->address, &address, length);
	*ret_address = (struct tws_address){0};
	if (*ret_gone)
		return false;
	call->dissolves = address.family == AF_UNSPEC && length >= sizeof(address.family);
	if (address.family == AF_INET && length >= sizeof(address.in)) {
		ret_address->family = TWS_IPV4;
		ret_address->port = ntohs(address.in.sin_port);
		memcpy(ret_address->bytes, &address.in.sin_addr, 4);
	} else if (address.family == AF_INET6 && length >= 24) {
		ret_address->port = ntohs(address.in6.sin6_port);
		ret_address->family =
		    IN6_IS_ADDR_V4MAPPED(&address.in6.sin6_addr) ? TWS_IPV4 : TWS_IPV6;
		if (ret_address->family == TWS_IPV4)
			memcpy(ret_address->bytes, address.in6.sin6_addr.s6_addr + 12, 4);
		else
			memcpy(ret_address->bytes, &address.in6.sin6_addr, 16);
	}
	return ret_address->family != TWS_FAMILY_NONE;
}
