/* SPDX-License-Identifier: MIT
 *
 * What a socket says about its connection just before a descriptor goes. These functions
 * only read; SO_ERROR is consumed only if `last` says that nobody can ask for it any
 * more.
 */
#ifndef TWS_SHIM_FACTS_H
#define TWS_SHIM_FACTS_H

#include <poll.h>

#include "shim/shared/ending.h"
#include "shim/shared/sys.h"

struct tws_bytes {
	uint64_t sent;
	uint64_t received;
};

/* poll(2) for every event that says something about the state. Returns the events; 0
 * also on failure. */
static inline int tws_facts_poll(int fd)
{
	struct pollfd pollfd = {.fd = fd,
				.events = POLLIN | POLLPRI | POLLOUT | POLLRDHUP};
#ifdef SYS_poll
	long ret = tws_sys3(SYS_poll, &pollfd, 1, 0);
#else
	struct timespec now = {0};
	long ret = tws_sys5(SYS_ppoll, &pollfd, 1, &now, 0, 8);
#endif

	return ret < 0 ? 0 : pollfd.revents;
}

/* Asks for the rest: TCP_INFO if `detail` (it gives the bytes), otherwise only what
 * poll() leaves in doubt. `events`: what poll() returned; -1: not called yet. The
 * caller sets facts->flags and facts->established; everything else, and the bytes, are
 * 0. */
void tws_facts_read(int fd, bool detail, bool last, int events, struct tws_facts *facts,
		    struct tws_bytes *ret_bytes);

/* Whether the socket is unconnected, and was since it was made: nothing of ours, not even
 * its SYN, was ever acknowledged. */
bool tws_facts_is_unborn(int fd);

/* SIOCOUTQ: bytes of data not yet acknowledged by the peer, sent or not. `flags`: enum
 * tws_conn_flag; the kernel counts our FIN, once shut down, as one byte. */
uint32_t tws_facts_unsent(int fd, uint32_t flags);

#endif
