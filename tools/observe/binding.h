/* SPDX-License-Identifier: MIT
 *
 * Which sockets a supervised program bound to port 0 before it connects. Where no bind()
 * is seen, the port tells: one that the kernel hands out was not chosen by the program.
 */
#ifndef TWS_TOOLS_OBSERVE_BINDING_H
#define TWS_TOOLS_OBSERVE_BINDING_H

#include <stdint.h>

#define BINDING_LATE 1024 /* sockets that are bound and not connected yet */

struct binding {
	uint64_t late[BINDING_LATE]; /* cookies: by a rule, they took no port */
	uint64_t read_ns;	     /* when the range was read; 0: not yet */
	uint16_t low, high;	     /* the ports that the kernel hands out */
};

/* A rule had it take no port at bind(). */
void binding_note_late(struct binding *binding, uint64_t cookie);

/* The bits of enum tws_conn_flag about it, of a socket that is about to connect for the
 * first time. */
uint32_t binding_flags(struct binding *binding, int fd, uint64_t cookie);

/* The port that a socket has; 0: none. */
uint16_t binding_port(int fd);

#endif
