/* SPDX-License-Identifier: MIT
 *
 * What this process knows about itself: its pid, the directory that its environment
 * names, and how many children may hold copies of its descriptors. lifecycle.c fills it
 * in; the code below the hooks only reads it, so that it does not depend on lifecycle.c.
 */
#ifndef TWS_SHIM_SELF_H
#define TWS_SHIM_SELF_H

#include <stdint.h>

#include "shim/shared/hot.h"
#include "shim/shared/segment.h"

struct tws_self {
	uint32_t spawns;       /* atomic; children that may hold our descriptors */
	uint32_t forks;	       /* atomic; that were seen */
	uint32_t tables_split; /* atomic; a thread may have descriptors of its own */
	int32_t pid; /* atomic; the process whose memory this is; 0: not asked yet */
	char directory[512];	    /* TWSHIM_DIR, or empty: look for one */
	char app[256];		    /* TWSHIM_APP, or empty */
	char tag[TWS_RUN_TAG_SIZE]; /* TWSHIM_RUN, or empty */
	uint8_t run[TWS_RUN_SIZE];  /* the same as bytes */
	char helper[512];	    /* TWSHIM_SUPERVISOR, or empty: shim/supervised.h */
};

TWS_OURS extern struct tws_self tws_self;

/* Finds out the pid, once. */
void tws_self_know_pid(void);

#endif
