/* SPDX-License-Identifier: MIT
 *
 * The layers of policy as a user of the command sees them: the user's own and the
 * system's, where they are, and what is in force there.
 */
#ifndef TWS_TOOLS_POLICY_LAYER_H
#define TWS_TOOLS_POLICY_LAYER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "shim/shared/policy_image.h"

#define LAYER_SINCE 32 /* room for a time, as 2025-11-23T21:23:00Z */

struct layer {
	enum tws_policy_layer layer; /* TWS_LAYER_USER or TWS_LAYER_SYSTEM */
	char directory[PATH_MAX];    /* as the user knows it: a place, or /run/twshim */
	char path[PATH_MAX];	     /* the directory of its policy.ctl */
	bool only_dir;		     /* of a directory that was named */
	bool absent;		     /* nobody obeys it: root has the system\'s alone */
	struct tws_policy_image *image; /* in force there; NULL: none */
	/* Why programs refuse what is loaded there, and the cure; empty: they do not. */
	char refused[PATH_MAX + 160];
	struct tws_policy_control control;
};

/* The layer of the user. `named` is what --dir said, or NULL. Returns 0, or the exit
 * status after it has printed the reason. */
int layer_of_user(const char *named, struct layer *ret_layer);

void layer_of_system(struct layer *ret_layer);

/* Whether root has made the system's. */
bool layer_has_system(void);

/* Whether --dir or $TWSHIM_DIR names a directory. */
bool layer_is_named(const char *named);

/* Reads what is in force. Returns 0, or the exit status after it has printed the reason.
 */
int layer_fetch(struct layer *layer);

/* "the user's policy" or "the system's policy". */
const char *layer_name(const struct layer *layer);

void layer_format_time(uint64_t realtime_ns, char ret_text[LAYER_SINCE]);

/* Reads both layers that a program of this user follows, nearest first. Returns as
 * layer_fetch() does. Free them in any case. */
int layers_find(const char *named, struct layer ret_layers[2]);
void layers_free(struct layer layers[2]);

/* Returns the layer that decides; NULL: no policy is in force. */
const struct layer *layers_nearest(const struct layer layers[2]);

/* Returns the directory of that layer, or of the one where a policy would be loaded. */
const char *layers_directory(const struct layer layers[2]);

/* Writes "the system's policy, generation 2, since ...": what programs of this user obey
 * now. False: no policy is in force, or it cannot be read. */
bool layers_describe(char *ret_text, size_t size);

/* Whether a policy is in force that `policy load` would replace. Prints nothing. */
bool layer_is_in_force(const char *named);

#endif
