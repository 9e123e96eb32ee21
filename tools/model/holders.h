/* SPDX-License-Identifier: MIT
 *
 * Which processes hold sockets that are of interest: found by the inode, in the links of
 * /proc/PID/fd. Processes that may not be looked at are counted, not guessed at.
 */
#ifndef TWS_TOOLS_HOLDERS_H
#define TWS_TOOLS_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tools/model/model.h"

/* A process with connections that its peers have closed and it has not. */
struct holder {
	pid_t pid;	       /* 0: of nobody whom we may look at */
	char name[64];	       /* as the kernel calls it, safe to print; "" unknown */
	uint64_t count;	       /* sockets in CLOSE_WAIT */
	struct tws_address to; /* where most of them go */
	uint16_t port;	       /* the local port, where they came in at; else 0 */
	uint64_t there;
};

struct holders {
	struct holder *list; /* most sockets first */
	size_t count;
	uint64_t hidden; /* processes whose descriptors we may not see */
	/* Who is connected now to the destination that was asked for: "php-fpm (812),
	 * ..."
	 */
	char connected[160];
};

/* Looks only if there is something to look for: CLOSE_WAIT sockets (`least` of them), or
 * connections to `to` (NULL: not asked). `proc`: NULL is /proc. 0 or -ENOMEM. Free it in
 * any case. */
int holders_find(struct holders *ret_holders, const struct model *model, uint64_t least,
		 const struct tws_address *to, const char *proc);

void holders_free(struct holders *holders);

#endif
