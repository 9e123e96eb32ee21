/* SPDX-License-Identifier: MIT
 *
 * The policies that a supervisor carries out: those that the shim would obey in the same
 * program. Either one that is given, or the layers of policy_image.h: their files are
 * opened once and read at a call, at most once per millisecond, so that what is loaded
 * acts on the next connection.
 */
#ifndef TWS_TOOLS_OBSERVE_POLICY_LAYERS_H
#define TWS_TOOLS_OBSERVE_POLICY_LAYERS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/shared/policy_image.h"

struct policy_layers {
	const struct tws_policy_image *image; /* in force; NULL: none */
	uint64_t key;			      /* its tws_policy_key(); 0: none */
	uint32_t followed;		      /* 1 << enum tws_policy_layer */
	bool given;
	int place;		    /* where the user publishes; stays the caller's */
	char run[TWS_RUN_TAG_SIZE]; /* "": no run */
	int control[TWS_LAYERS];    /* -1: there is none, or it is not to be obeyed */
	uint64_t opened_ns, looked_ns;
};

/* Follows nothing. */
void policy_layers_init(struct policy_layers *ret_layers);

/* `given` NULL: follows the layers of this user. `run`: of which run; NULL: of none. */
void policy_layers_open(struct policy_layers *ret_layers,
			const struct tws_policy_image *given, uint64_t key, int place,
			const uint8_t *run);

/* Looks what is in force. True: that, or which
 * layers are followed, is not as before; `image` of before may be gone. */
bool policy_layers_look(struct policy_layers *layers);

void policy_layers_close(struct policy_layers *layers);

#endif
