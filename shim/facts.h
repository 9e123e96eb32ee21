/* SPDX-License-Identifier: MIT
 *
 * What a socket says of its connection just before a descriptor goes. Reads only: no
 * SO_ERROR is consumed unless `last` says that nobody can ask for it any more.
 */
#ifndef TWS_SHIM_FACTS_H
#define TWS_SHIM_FACTS_H

#include "shim/ending.h"

struct tws_bytes {
	uint64_t sent;
	uint64_t received;
};

/* One poll(); with `detail` TCP_INFO too, which gives bytes; more only where they leave
 * doubt. facts->flags and facts->established are set by the caller, all else and the
 * bytes are 0. */
void tws_facts_read(int fd, bool detail, bool last, struct tws_facts *facts,
		    struct tws_bytes *ret_bytes);

/* SIOCOUTQ: bytes not yet acknowledged by the peer, sent or not. */
uint32_t tws_facts_unsent(int fd);

#endif
