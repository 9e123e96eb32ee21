/* SPDX-License-Identifier: MIT
 *
 * Whether this process alone holds a connection: asked before a reset, which would
 * destroy what another holder has still to send. The kernel tells nobody how many hold a
 * socket, and nobody need tell the shim that he forks, so each way of sharing is ruled
 * out by itself; where one cannot be, the answer is no.
 *
 * Nothing here runs before a rule asks for a reset. Async-signal-safe, no lock.
 */
#ifndef TWS_SHIM_ALONE_H
#define TWS_SHIM_ALONE_H

#include "shim/conn/conn.h"

TWS_OURS extern uint32_t tws_alone_armed; /* atomic; a rule has asked for a reset */

/* At the start of a process that has a policy. */
TWS_COLD void tws_alone_begin(void);

/* A rule may reset the connection that is about to connect: forks are watched for from
 * here on. */
TWS_COLD void tws_alone_arm(void);

/* Looks for forks that nobody told of, and marks what is open as shared if there was one.
 * False: there was, or it cannot be told. */
TWS_COLD bool tws_alone_look(void);

/* A socket is about to enter the table: what was forked before cannot hold it. */
static inline void tws_alone_step(void)
{
	if (tws_unlikely(__atomic_load_n(&tws_alone_armed, __ATOMIC_RELAXED)))
		tws_alone_look();
}

/* The connection's last descriptor is about to go. False: somebody else may hold it. */
TWS_COLD bool tws_alone(const struct tws_end *end);

/* In a forked child. */
void tws_alone_forked(void);

#endif
