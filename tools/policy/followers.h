/* SPDX-License-Identifier: MIT
 *
 * Which living processes follow a layer of policy, by application, from their segments.
 */
#ifndef TWS_TOOLS_FOLLOWERS_H
#define TWS_TOOLS_FOLLOWERS_H

#include <jansson.h>
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

enum follower_state {
	FOLLOWER_CURRENT, /* obeys what is in force */
	FOLLOWER_BEHIND,  /* will from its next connection on */
	FOLLOWER_NEARER,  /* obeys a nearer layer */
	FOLLOWER_UNREACHED,
};

#define FOLLOWERS_GROUPS 64
#define FOLLOWERS_PIDS	 4

/* Processes of one application that are in the same state. */
struct followers_group {
	char app[64];
	enum follower_state state;
	uint64_t
	    generation;	 /* FOLLOWER_BEHIND: what it keeps of this layer; 0: nothing */
	const char *why; /* in words; NULL: current */
	unsigned processes;
	pid_t pids[FOLLOWERS_PIDS]; /* the first ones */
};

struct followers {
	unsigned all;	  /* living processes whose policy this layer could be */
	unsigned current; /* of these, those that obey what is in force */
	unsigned reached; /* and those that will */
	unsigned group_count;
	unsigned left_out; /* processes for whose group there was no room */
	struct followers_group groups[FOLLOWERS_GROUPS];
};

/* Returns 0 or -errno. */
int followers_count(const struct followers_layer *layer, struct followers *ret);

/* Says who obeys it, and who does not and why: one line per group, each after `indent`.
 * Prints nothing if there is no process. */
void followers_print(FILE *out, const char *indent, const struct followers *followers);

/* The same for what was loaded a moment ago: whom it reaches, whom it does not and why.
 */
void followers_print_reached(FILE *out, const char *indent,
			     const struct followers *followers);

/* Returns a new reference. */
json_t *followers_json(const struct followers *followers);

#endif
