/* SPDX-License-Identifier: MIT
 *
 * Whether one match takes all that another would: then the other's rule, standing later,
 * is never reached. Pure. It may miss a cover (globs are compared, not understood) and
 * never claims a false one.
 */
#ifndef TWS_CONFIG_COVER_H
#define TWS_CONFIG_COVER_H

#include "shim/policy_image.h"

/* `bytes`: what the offsets of both matches count from. */
bool tws_match_covers(const void *bytes, const struct tws_match *first,
		      const struct tws_match *second);

#endif
