/* SPDX-License-Identifier: MIT
 *
 * The layers of policy that this process follows: their files, mapped once and live from
 * then on. A file is followed only if nobody but root can write it or any directory above
 * it, or, for a user's layer, the user that the process has been since its exec, if it
 * has no capabilities.
 */
#ifndef TWS_SHIM_LAYERS_H
#define TWS_SHIM_LAYERS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/shared/hot.h"
#include "shim/shared/policy_image.h"
#include "shim/shared/sys.h"

/* Where the state of each layer is; an even number where it is not followed. */
TWS_OURS extern const uint64_t *tws_layer_state[TWS_LAYERS]; /* atomic */
TWS_OURS extern uint64_t tws_layers_checked_ns; /* atomic; when last seen whole */

/* At start-up: a process that began as root maps what it could not reach after it has
 * dropped root. One system call in the usual case, none for others. */
void tws_layers_begin(void);

/* Before the first connection, where a policy must be known: maps the layers that are
 * there, once, and makes none. */
TWS_COLD void tws_layers_seek(void);

/* At the first connection: maps the layers that are not mapped yet, and makes the user's.
 */
void tws_layers_complete(void);

/* The layers that are followed, as bits 1 << enum tws_policy_layer. */
uint32_t tws_layers_followed(void);

/* A private copy of the image of that generation, to be unmapped with its size; NULL: it
 * is damaged, or no longer that generation. */
struct tws_policy_image *tws_layers_copy(enum tws_policy_layer layer,
					 uint64_t generation);

/* Looks whether the files that a user can write were truncated: one system call for each.
 * A truncated one is no policy until a look, once per second, finds it whole. */
TWS_COLD void tws_layers_look(uint64_t now);

static inline uint64_t tws_layers_state(enum tws_policy_layer layer)
{
	const uint64_t *at = __atomic_load_n(&tws_layer_state[layer], __ATOMIC_ACQUIRE);

	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/* The nearest policy in force, as tws_policy_key(); 0: none. */
static inline uint64_t tws_layers_in_force(void)
{
	for (unsigned layer = 0; layer < TWS_LAYERS; layer++) {
		uint64_t state = tws_layers_state(layer);

		if (state & 1)
			return tws_policy_key(layer, state >> 1);
	}
	return 0;
}

/* Whether a policy was in force when the files were looked at last. */
static inline bool tws_layers_any(void)
{
	return tws_unlikely((tws_layers_state(TWS_LAYER_RUN) |
			     tws_layers_state(TWS_LAYER_USER) |
			     tws_layers_state(TWS_LAYER_SYSTEM)) &
			    1);
}

/* Whether a policy is in force at `now`: a few loads, before any more is asked. */
static inline bool tws_policy_active(uint64_t now)
{
	if (tws_unlikely(now - __atomic_load_n(&tws_layers_checked_ns, __ATOMIC_RELAXED) >
			 TWS_FRESH_NS))
		tws_layers_look(now);
	return tws_layers_any();
}

#endif
