/* SPDX-License-Identifier: MIT
 *
 * How an MPTCP connection is found in the kernel's table. Its TIME_WAIT socket belongs to
 * a subflow, which has a cookie of its own, so a hash of the addresses stands where other
 * connections have their cookie.
 */
#ifndef TWS_SHIM_PAIR_H
#define TWS_SHIM_PAIR_H

#include "shim/shared/segment.h"

/* No cookie has this bit set, because cookies are counted up from 1. */
#define TWS_TW_PAIR (1ULL << 47)

/* The hash of a connection's addresses, with TWS_TW_PAIR set. Pure. */
static inline uint64_t tws_pair(const struct tws_address *local,
				const struct tws_address *remote)
{
	const struct tws_address *const ends[] = {local, remote};
	uint64_t hash = 14695981039346656037ULL;

	for (int end = 0; end < 2; end++) {
		for (int i = 0; i < 16; i++)
			hash = (hash ^ ends[end]->bytes[i]) * 1099511628211ULL;
		hash = (hash ^ ends[end]->port) * 1099511628211ULL;
	}
	return ((hash ^ hash >> 47) & (TWS_TW_PAIR - 1)) | TWS_TW_PAIR;
}

/* What finds the connection's socket in the kernel's table. Pure. */
static inline uint64_t tws_socket_key(const struct tws_connection *slot)
{
	return __builtin_expect(slot->flags & TWS_CONN_MPTCP, 0)
		   ? tws_pair(&slot->local, &slot->remote)
		   : slot->cookie;
}

#endif
