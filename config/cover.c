/* SPDX-License-Identifier: MIT */
#include "config/cover.h"

#include <string.h>

#include "shim/shared/match.h"

static bool glob_covers(const void *bytes, const void *a, const void *b)
{
	const char *first = (const char *)bytes + *(const uint32_t *)a;
	const char *second = (const char *)bytes + *(const uint32_t *)b;

	return strcmp(first, "*") == 0 || strcmp(first, second) == 0;
}

static bool uid_covers(const void *bytes, const void *a, const void *b)
{
	return *(const uint32_t *)a == *(const uint32_t *)b;
}

static bool prefix_covers(const struct tws_target *a, const struct tws_target *b)
{
	unsigned bytes = a->prefix_bits / 8, rest = a->prefix_bits % 8;

	if (a->family == TWS_FAMILY_NONE)
		return true;
	if (a->family != b->family || a->prefix_bits > b->prefix_bits ||
	    memcmp(a->bytes, b->bytes, bytes) != 0)
		return false;
	return rest == 0 || (a->bytes[bytes] ^ b->bytes[bytes]) >> (8 - rest) == 0;
}

static bool target_covers(const void *bytes, const void *a, const void *b)
{
	const struct tws_target *first = a, *second = b;

	return first->port_low <= second->port_low &&
	       first->port_high >= second->port_high && prefix_covers(first, second);
}

typedef bool (*element_covers)(const void *bytes, const void *a, const void *b);

/* Whether each element of the second list is covered by one of the first. An empty
 * list means all. */
static bool list_covers(const void *bytes, const struct tws_list *first,
			const struct tws_list *second, size_t size, element_covers covers)
{
	const char *a = (const char *)bytes + first->offset;
	const char *b = (const char *)bytes + second->offset;

	if (first->count == 0)
		return true;
	for (uint32_t i = 0; i < second->count; i++) {
		uint32_t j = 0;

		while (j < first->count && !covers(bytes, a + j * size, b + i * size))
			j++;
		if (j == first->count)
			return false;
	}
	return second->count > 0;
}

bool tws_match_covers(const void *bytes, const struct tws_match *first,
		      const struct tws_match *second)
{
	return list_covers(bytes, &first->exe, &second->exe, 4, glob_covers) &&
	       list_covers(bytes, &first->app, &second->app, 4, glob_covers) &&
	       list_covers(bytes, &first->unit, &second->unit, 4, glob_covers) &&
	       list_covers(bytes, &first->container, &second->container, 4,
			   glob_covers) &&
	       list_covers(bytes, &first->uid, &second->uid, 4, uid_covers) &&
	       list_covers(bytes, &first->to, &second->to, sizeof(struct tws_target),
			   target_covers);
}

/* A path begins with a slash and its base name is not empty. So a '?' may stand for a
 * letter of that name, and one slash for the first slash. */
static bool glob_takes_all(const char *glob)
{
	size_t length = strlen(glob);
	unsigned slashes = 0, letters = 0;

	if (strspn(glob, "*?/") != length || !strchr(glob, '*'))
		return false;
	for (const char *at = glob; *at; at++) {
		slashes += *at == '/';
		letters += *at == '?';
		if (slashes == 0 && *at == '?' && strchr(at, '/'))
			return false;
	}
	return slashes <= 1 && letters <= 1 && glob[length - 1] != '/';
}

bool tws_match_takes_programs(const void *bytes, const struct tws_match *match)
{
	const uint32_t *globs = (const void *)((const char *)bytes + match->exe.offset);

	if (tws_match_asks_names(match))
		return false;
	for (uint32_t i = 0; i < match->exe.count; i++)
		if (glob_takes_all((const char *)bytes + globs[i]))
			return true;
	return match->exe.count == 0;
}

static bool is_every_port(const struct tws_target *target)
{
	return target->port_low <= 1 && target->port_high == UINT16_MAX;
}

/* Whether another target covers targets[index]. Of two equal targets, the first covers
 * the second. */
static bool is_within_another(const struct tws_target *targets, uint32_t count,
			      uint32_t index)
{
	for (uint32_t i = 0; i < count; i++)
		if (i != index && is_every_port(&targets[i]) &&
		    prefix_covers(&targets[i], &targets[index]) &&
		    (i < index || !prefix_covers(&targets[index], &targets[i])))
			return true;
	return false;
}

/* Networks that do not contain each other are disjoint, so their sizes can be added.
 * The sum of doubles loses less than 2^-50 of the whole. */
bool tws_match_takes_family(const void *bytes, const struct tws_match *match,
			    enum tws_family family)
{
	const struct tws_target *targets =
	    (const void *)((const char *)bytes + match->to.offset);
	double share = 0, size;

	for (uint32_t i = 0; i < match->to.count; i++) {
		if (!is_every_port(&targets[i]) ||
		    is_within_another(targets, match->to.count, i))
			continue;
		if (targets[i].family == TWS_FAMILY_NONE)
			return true;
		size = 1;
		for (unsigned bit = 0; bit < targets[i].prefix_bits; bit++)
			size /= 2;
		share += targets[i].family == family ? size : 0;
	}
	return share >= 1 || match->to.count == 0;
}
