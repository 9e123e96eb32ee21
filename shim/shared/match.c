/* SPDX-License-Identifier: MIT */
#include "shim/shared/match.h"

#include <string.h>

#include "shim/shared/names.h"

/* Matches one bracket expression at `pattern` ("[a-z]", "[!a]") against `c`. Returns
 * what follows it, or NULL if it has no end, so that '[' is an ordinary character. */
static const char *match_bracket(const char *pattern, unsigned char c, bool *ret_matches)
{
	const char *p = pattern + 1;
	bool negated = *p == '!' || *p == '^', found = false, first = true;
	unsigned char low, high;

	for (p += negated; *p && (*p != ']' || first); p++, first = false) {
		if (*p == '\\' && p[1])
			p++;
		low = high = (unsigned char)*p;
		if (p[1] == '-' && p[2] && p[2] != ']') {
			p += p[2] == '\\' && p[3] ? 3 : 2;
			high = (unsigned char)*p;
		}
		found |= low <= c && c <= high;
	}
	if (*p != ']')
		return NULL;
	*ret_matches = found != negated;
	return p + 1;
}

/* Matches one element of the pattern, other than '*', against one byte. Returns what
 * follows the element, or NULL if it does not match. */
static const char *match_one(const char *pattern, unsigned char c)
{
	const char *after;
	bool matches;

	if (*pattern == '?')
		return pattern + 1;
	if (*pattern == '[' && (after = match_bracket(pattern, c, &matches)) != NULL)
		return matches ? after : NULL;
	if (*pattern == '\\' && pattern[1])
		pattern++;
	return *pattern && (unsigned char)*pattern == c ? pattern + 1 : NULL;
}

bool tws_match_glob(const char *pattern, const char *text)
{
	/* Where to go on if the rest does not match: only the last '*' ever has to
	 * match more. */
	const char *star = NULL, *retry = NULL, *after;

	while (*text) {
		if (*pattern == '*') {
			star = ++pattern;
			retry = text;
		} else if ((after = match_one(pattern, (unsigned char)*text)) != NULL) {
			pattern = after;
			text++;
		} else if (star) {
			pattern = star;
			text = ++retry;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

bool tws_match_exe(const char *pattern, const char *exe)
{
	const char *slash = strchr(pattern, '/') ? NULL : strrchr(exe, '/');

	return tws_match_glob(pattern, slash ? slash + 1 : exe);
}

static bool match_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, bytes) != 0)
		return false;
	return rest == 0 || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0;
}

bool tws_match_target(const struct tws_target *target, const struct tws_address *address)
{
	if (address->port < target->port_low || address->port > target->port_high)
		return false;
	if (target->family == TWS_FAMILY_NONE)
		return true;
	return target->family == address->family &&
	       match_prefix(target->bytes, address->bytes, target->prefix_bits);
}

static bool match_any_exe(const struct tws_policy_image *image,
			  const struct tws_list *list, const char *exe)
{
	const uint32_t *globs = tws_policy_at(image, list->offset);

	for (uint32_t i = 0; i < list->count; i++)
		if (tws_match_exe(tws_policy_at(image, globs[i]), exe))
			return true;
	return list->count == 0;
}

/* What has no such name matches no glob, not even '*'. */
static bool match_any_name(const struct tws_policy_image *image,
			   const struct tws_list *list, const char *name)
{
	const uint32_t *globs = tws_policy_at(image, list->offset);

	for (uint32_t i = 0; *name && i < list->count; i++)
		if (tws_match_glob(tws_policy_at(image, globs[i]), name))
			return true;
	return list->count == 0;
}

static bool match_names(const struct tws_policy_image *image,
			const struct tws_match *match, const struct tws_subject *subject)
{
	const struct tws_names *names = subject->names;

	if (!tws_match_asks_names(match))
		return true;
	return names &&
	       match_any_name(image, &match->app, tws_names_app(names, subject->exe)) &&
	       match_any_name(image, &match->unit, names->unit) &&
	       match_any_name(image, &match->container, names->container);
}

static bool match_any_uid(const struct tws_policy_image *image,
			  const struct tws_list *list, uint32_t uid)
{
	const uint32_t *uids = tws_policy_at(image, list->offset);

	for (uint32_t i = 0; i < list->count; i++)
		if (uids[i] == uid)
			return true;
	return list->count == 0;
}

bool tws_match_subject(const struct tws_policy_image *image,
		       const struct tws_match *match, const struct tws_subject *subject)
{
	return match_any_uid(image, &match->uid, subject->uid) &&
	       match_any_exe(image, &match->exe, subject->exe) &&
	       match_names(image, match, subject);
}

bool tws_match_address(const struct tws_policy_image *image,
		       const struct tws_match *match, const struct tws_address *address)
{
	const struct tws_target *targets = tws_policy_at(image, match->to.offset);

	for (uint32_t i = 0; i < match->to.count; i++)
		if (tws_match_target(&targets[i], address))
			return true;
	return match->to.count == 0;
}

bool tws_action_acts_at_bind(const struct tws_action *action)
{
	return action->flags & (TWS_ACTION_LATE_BIND | TWS_ACTION_REUSEADDR_ON |
				TWS_ACTION_REUSEADDR_OFF);
}

/* The finalizer of SplitMix64 (Steele, Lea and Flood): every bit of the input reaches
 * every bit of the output, so that neighbouring seeds give unrelated draws. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

uint32_t tws_draw(uint32_t seed, uint64_t n)
{
	uint64_t start = mix(seed + 0x9e3779b97f4a7c15ULL);

	return (uint32_t)(mix(start + (n + 1) * 0x9e3779b97f4a7c15ULL) >> 32);
}

unsigned tws_pick_arm(const struct tws_policy_arm *arms, unsigned count, uint32_t draw)
{
	uint64_t total = 0, point;

	for (unsigned i = 0; i < count; i++)
		total += arms[i].weight;
	point = total * draw >> 32;
	for (unsigned i = 0; i + 1 < count; i++) {
		if (point < arms[i].weight)
			return i;
		point -= arms[i].weight;
	}
	return count - 1;
}
