/* SPDX-License-Identifier: MIT
 *
 * Which sockets a supervised program bound to port 0 before it connects. Where no bind()
 * is seen, the port tells: one that the kernel hands out was not chosen by the program.
 */
#ifndef TWS_TOOLS_OBSERVE_BINDING_H
#define TWS_TOOLS_OBSERVE_BINDING_H

#include <linux/inet_diag.h>
#include <stdbool.h>
#include <stdint.h>

#include "shim/shared/segment.h"

#define BINDING_KNOWN 1024 /* sockets that are about to connect */

struct binding_known {
	uint64_t cookie;
	bool late; /* by a rule, it took no port; false: its port is of an attempt before
		    */
};

struct binding {
	struct binding_known known[BINDING_KNOWN];
	uint64_t read_ns;   /* when the range was read; 0: not yet */
	uint16_t low, high; /* the ports that the kernel hands out */
};

/* A rule had it take no port at bind(). */
void binding_note_late(struct binding *binding, uint64_t cookie);

/* It was unconnected, and shows the port that it had. */
void binding_note_used(struct binding *binding, uint64_t cookie);

/* The bits of enum tws_conn_flag about it, of a socket that is about to connect for the
 * first time. */
uint32_t binding_flags(struct binding *binding, int fd, uint64_t cookie);

/* Between which addresses a socket that has a port will connect, for sock_diag, and their
 * family. 0: it has none, or of which address is not known. */
uint8_t binding_addresses(int fd, const struct tws_address *to,
			  struct inet_diag_sockid *ret_id);

/* The port that a socket has; 0: none. */
uint16_t binding_port(int fd);

#endif
