/* SPDX-License-Identifier: MIT
 *
 * Which living processes follow a layer of policy, from their segments.
 */
#ifndef TWS_TOOLS_FOLLOWERS_H
#define TWS_TOOLS_FOLLOWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "shim/shared/policy_image.h"

/* The layer that is asked about. */
struct followers_layer {
	enum tws_policy_layer layer;
	uint64_t generation; /* in force there; 0: none */
	uid_t user;	     /* of TWS_LAYER_USER */
	const char *dir;     /* the one directory to read; NULL: all places */
};

#define FOLLOWERS_NAMED 5

struct followers_process {
	pid_t pid;
	char name[64];
	const char *why; /* in words */
};

struct followers {
	unsigned all;	 /* living processes whose policy this layer could be */
	unsigned reach;	 /* of these, those that follow it */
	unsigned now;	 /* of these, those that have its generation already */
	unsigned hidden; /* of those that follow it: have a nearer policy */
	unsigned unreached_count;
	struct followers_process unreached[FOLLOWERS_NAMED]; /* the first ones */
};

/* 0 or -errno. */
int followers_count(const struct followers_layer *layer, struct followers *ret);

/* One line per fact, each after `indent`. */
void followers_print(FILE *out, const char *indent, const struct followers *followers);

#endif
