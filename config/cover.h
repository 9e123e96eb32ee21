/* SPDX-License-Identifier: MIT
 *
 * Whether one match takes all that another would: then the other's rule, standing later,
 * is never reached. And whether a match narrows anything at all. Pure. It may miss a
 * cover (globs are compared, not understood) and never claims a false one.
 */
#ifndef TWS_CONFIG_COVER_H
#define TWS_CONFIG_COVER_H

#include "shim/shared/policy_image.h"

/* `bytes`: what the offsets of both matches count from. */
bool tws_match_covers(const void *bytes, const struct tws_match *first,
		      const struct tws_match *second);

/* Whether a match takes every program: no `exe`, or one such as "*". */
bool tws_match_takes_programs(const void *bytes, const struct tws_match *match);

/* Whether it takes every destination of a family, on every port: no `to`, or one such as
 * "*", or networks that are together all addresses. */
bool tws_match_takes_family(const void *bytes, const struct tws_match *match,
			    enum tws_family family);

#endif
