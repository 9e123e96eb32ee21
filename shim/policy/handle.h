/* SPDX-License-Identifier: MIT
 *
 * An image in use; for policy_load.c, which keeps them, and policy.c, which decides by
 * them.
 */
#ifndef TWS_SHIM_POLICY_HANDLE_H
#define TWS_SHIM_POLICY_HANDLE_H

#include "shim/shared/policy_image.h"

struct tws_policy_handle {
	const struct tws_policy_image *image;
	uint64_t key;		  /* tws_policy_key() */
	uint64_t subject_matches; /* bit i: rule i matches this executable and uid */
	bool experiment_matches;
	uint8_t
	    arm_entry[TWS_ARMS]; /* atomic; 1 + index in the arm section, 0: not yet */
	uint32_t users;		 /* atomic; LOADER: being filled */
};

/* The image in force, followed if it changed; NULL: none. To be released soon: an image
 * stays as long as somebody is in it. */
struct tws_policy_handle *tws_policy_acquire(void);
void tws_policy_release(struct tws_policy_handle *handle);

/* The next draw of a seed. */
uint32_t tws_policy_draw(uint32_t seed);

#endif
