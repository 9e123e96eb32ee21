/* SPDX-License-Identifier: MIT
 *
 * How a connection without a cookie of its own is found in the kernel's table: by a hash
 * of its addresses, which stands where other connections have their cookie. The TIME_WAIT
 * socket of an MPTCP connection belongs to a subflow, which has another cookie; and a
 * sandbox, or a kernel before 4.12, may tell no cookies at all.
 */
#ifndef TWS_SHIM_PAIR_H
#define TWS_SHIM_PAIR_H

#include <stdbool.h>

#include "shim/shared/segment.h"

/* No cookie has this bit set, because cookies are counted up from 1. */
#define TWS_TW_PAIR (1ULL << 47)

/* Cookies that are counted up from 1 stay below. */
#define TWS_COOKIE_BITS 48

/* Set in a number that is made of a socket's inode, because the kernel tells no cookie.
 */
#define TWS_COOKIE_INODE (1ULL << 62)

/* Whether the addresses identify the connection's socket in the kernel's table, and not
 * its cookie. Pure. */
static inline bool tws_is_found_by_pair(uint32_t flags, uint64_t cookie)
{
	return __builtin_expect(flags & TWS_CONN_MPTCP || cookie >> TWS_COOKIE_BITS, 0);
}

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
	return tws_is_found_by_pair(slot->flags, slot->cookie)
		   ? tws_pair(&slot->local, &slot->remote)
		   : slot->cookie;
}

#endif
