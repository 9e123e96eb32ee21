/* SPDX-License-Identifier: MIT */
#include "config/cover.h"

#include <string.h>

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

/* Each element of the second list lies in one of the first; an empty list is all. */
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
	       list_covers(bytes, &first->uid, &second->uid, 4, uid_covers) &&
	       list_covers(bytes, &first->to, &second->to, sizeof(struct tws_target),
			   target_covers);
}
