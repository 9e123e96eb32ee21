/* SPDX-License-Identifier: MIT
 *
 * A map from socket cookies to small numbers: open addressing, without removal, growing
 * by factors of four. Cookie 0 belongs to no socket and is never in it.
 */
#ifndef TWS_TOOLS_COOKIES_H
#define TWS_TOOLS_COOKIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cookie_map {
	struct cookie_entry *entries;
	size_t room; /* a power of two, or 0 */
	size_t count;
};

struct cookie_entry {
	uint64_t cookie;
	uint32_t value;
};

/* Sets the value of a cookie. Returns 0; 1 if the cookie had a value, which is kept; or
 * -ENOMEM. */
int cookie_map_add(struct cookie_map *map, uint64_t cookie, uint32_t value);

/* Makes room for `count` cookies in total. Returns 0 or -ENOMEM. */
int cookie_map_reserve(struct cookie_map *map, size_t count);

/* Returns where the value of a cookie is stored, or NULL. */
uint32_t *cookie_map_find(const struct cookie_map *map, uint64_t cookie);

/* Prefetches the cookie's place, for a find or an add a few steps later. */
void cookie_map_prefetch(const struct cookie_map *map, uint64_t cookie);

#define COOKIE_MAP_AHEAD 16 /* the number of steps that pays */

/* Removes all cookies and keeps the memory. */
void cookie_map_clear(struct cookie_map *map);

void cookie_map_free(struct cookie_map *map);

#endif
