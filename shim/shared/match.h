/* SPDX-License-Identifier: MIT
 *
 * Which rule decides. Pure: no system call, no allocation, no state. The shim and
 * `twshim policy explain` use the same functions.
 */
#ifndef TWS_SHIM_MATCH_H
#define TWS_SHIM_MATCH_H

#include "shim/shared/policy_image.h"

/* The process that asks: the path of its executable (as in /proc/self/exe), its effective
 * uid, and its names (shim/shared/names.h), which may be NULL where no rule asks for
 * them. */
struct tws_subject {
	const char *exe;
	uint32_t uid;
	const struct tws_names *names;
};

/* Whether a match asks for app, unit or container. */
static inline bool tws_match_asks_names(const struct tws_match *match)
{
	return match->app.count || match->unit.count || match->container.count;
}

/* Shell-like glob over all of `text`: '*', '?', '[a-z]', '[!a]', '\' escapes. '*' matches
 * '/' too. Time is linear in the product of the lengths at worst; never recurses. */
bool tws_match_glob(const char *pattern, const char *text);

/* A glob that contains '/' is matched against the whole path, and any other against
 * the base name. */
bool tws_match_exe(const char *pattern, const char *exe);

bool tws_match_target(const struct tws_target *target, const struct tws_address *address);

/* The part of a match that a process knows from its start: exe and uid. */
bool tws_match_subject(const struct tws_policy_image *image,
		       const struct tws_match *match, const struct tws_subject *subject);

/* The part that depends on the connection: to. */
bool tws_match_address(const struct tws_policy_image *image,
		       const struct tws_match *match, const struct tws_address *address);

/* Whether an action asks for something at bind(), where no destination is known. There
 * the first such rule decides that matches the subject, whatever its `to`. */
bool tws_action_acts_at_bind(const struct tws_action *action);

static inline bool tws_same_address(const struct tws_address *a,
				    const struct tws_address *b)
{
	return a->port == b->port && a->family == b->family &&
	       !__builtin_memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* Draws for samples and experiments: the n-th draw of a seed, 0 to 2^32-1. */
uint32_t tws_draw(uint32_t seed, uint64_t n);

/* The index of the arm that a draw selects, by the weights. There are 1 to TWS_ARMS
 * arms. */
unsigned tws_pick_arm(const struct tws_policy_arm *arms, unsigned count, uint32_t draw);

#endif
