/* SPDX-License-Identifier: MIT
 *
 * Finds the processes that hold certain sockets, by the inode in the links of
 * /proc/PID/fd. Processes that we may not look at are counted, and nothing is assumed
 * about them.
 */
#ifndef TWS_TOOLS_HOLDERS_H
#define TWS_TOOLS_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tools/model/model.h"

/* A process with connections that the peers have closed and the process has not. */
struct holder {
	pid_t pid;	/* 0: held by no process that we may look at */
	char name[64];	/* the kernel's name of the process, safe to print; "" unknown */
	uint64_t count; /* sockets in CLOSE_WAIT */
	struct tws_address to; /* where most of them lead */
	uint16_t port;	       /* the local port if they are incoming; else 0 */
	uint64_t there;
};

struct holders {
	struct holder *list; /* most sockets first */
	size_t count;
	uint64_t hidden; /* processes whose descriptors we may not read */
	/* The processes now connected to the destination that was asked for: "php-fpm
	 * (812), ..." */
	char connected[160];
};

/* Looks only if there is something to look for: at least `least` CLOSE_WAIT sockets, or
 * connections to `to` (NULL: not asked for). `proc` NULL is /proc. Returns 0 or -ENOMEM.
 * Call holders_free() in either case. */
int holders_find(struct holders *ret_holders, const struct model *model, uint64_t least,
		 const struct tws_address *to, const char *proc);

void holders_free(struct holders *holders);

#endif
