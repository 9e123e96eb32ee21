/* SPDX-License-Identifier: MIT
 *
 * A call that begins a connection: what its registers say, and the memory that they point
 * at. Another thread may be changing that memory: the kernel has the last word about
 * where a connection goes.
 */
#ifndef TWS_TOOLS_OBSERVE_CONNECT_CALL_H
#define TWS_TOOLS_OBSERVE_CONNECT_CALL_H

#include <linux/seccomp.h>

#include "shim/shared/segment.h"
#include "tools/observe/caller.h"

/* Its arguments, read from memory where they are there. */
struct connect_call {
	int fd;
	uint64_t address; /* of its sockaddr */
	uint32_t length;
	bool fast_open;
	bool dissolves; /* AF_UNSPEC: the socket is to be unconnected */
};

/* Whether it is this call: its number on this architecture and on i386. */
bool connect_call_is(const struct seccomp_data *data, int native, int i386);

/* False: what it points at is not there. */
bool connect_call_read(const struct caller *caller, const struct seccomp_data *data,
		       struct connect_call *ret_call);

/* Where it goes, and whether it dissolves. False: its address is not one of TCP, or
 * (`gone`) not there. */
bool connect_call_destination(const struct caller *caller, struct connect_call *call,
			      struct tws_address *ret_address, bool *ret_gone);

#endif
