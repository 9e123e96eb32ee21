/* SPDX-License-Identifier: MIT
 *
 * Whether this process alone holds a connection. This is checked before a reset, because
 * a reset would destroy what another holder has yet to send. The kernel does not say how
 * many processes hold a socket, and the shim does not see every fork. So each way of
 * sharing is ruled out separately; if one cannot be ruled out, the answer is no.
 *
 * Nothing here runs before a rule asks for a reset. Async-signal-safe, no lock.
 */
#ifndef TWS_SHIM_ALONE_H
#define TWS_SHIM_ALONE_H

#include "shim/conn/conn.h"

TWS_OURS extern uint32_t tws_alone_armed; /* atomic; a rule has asked for a reset */

/* Call this before the first connection of a process. Children that were waited for until
 * then hold none of its connections. Further calls do nothing. */
TWS_COLD void tws_alone_begin(void);

/* A rule may reset the connection that is about to connect. Forks are detected from
 * here on. */
TWS_COLD void tws_alone_arm(void);

/* Looks for forks that no wrapper saw, and marks open connections as shared if there
 * was one. False: there was one, or it cannot be known. */
TWS_COLD bool tws_alone_look(void);

/* A socket is about to enter the table. Processes that were forked before cannot hold
 * it. */
static inline void tws_alone_step(void)
{
	if (tws_unlikely(__atomic_load_n(&tws_alone_armed, __ATOMIC_RELAXED)))
		tws_alone_look();
}

/* The connection's last descriptor is about to be closed. False: another process may
 * hold the socket. */
TWS_COLD bool tws_alone(const struct tws_end *end);

/* Call this in a forked child. */
void tws_alone_forked(void);

#endif
