/* SPDX-License-Identifier: MIT
 *
 * Whether one match includes everything that a later one would match, so that the later
 * rule is never reached; and whether a match has any limit at all. Pure. It may miss a
 * case, because globs are compared as text, but it never claims one falsely.
 */
#ifndef TWS_CONFIG_COVER_H
#define TWS_CONFIG_COVER_H

#include "shim/shared/policy_image.h"

/* `bytes` is the start from which the offsets in both matches count. */
bool tws_match_covers(const void *bytes, const struct tws_match *first,
		      const struct tws_match *second);

/* Whether a match includes every program: it has no `exe`, or one such as "*". */
bool tws_match_takes_programs(const void *bytes, const struct tws_match *match);

/* Whether it includes every destination of a family, on every port: it has no `to`, or
 * one such as "*", or networks that together contain all addresses. */
bool tws_match_takes_family(const void *bytes, const struct tws_match *match,
			    enum tws_family family);

#endif
