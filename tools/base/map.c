/* SPDX-License-Identifier: MIT */
#include "tools/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 64

/* The kernel assigns cookies in sequences, so their low bits alone would cluster. */
static size_t first_place(uint64_t cookie, size_t room)
{
	return (size_t)(cookie * 0x9e3779b97f4a7c15ULL >> 32) & (room - 1);
}

/* Returns the entry of the cookie, or the free one where it belongs. There is always a
 * free one. */
static struct cookie_entry *place(struct cookie_entry *entries, size_t room,
				  uint64_t cookie)
{
	size_t i = first_place(cookie, room);

	while (entries[i].cookie && entries[i].cookie != cookie)
		i = (i + 1) & (room - 1);
	return &entries[i];
}

static int grow_to(struct cookie_map *map, size_t room)
{
	struct cookie_entry *entries = calloc(room, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < map->room; i++)
		if (map->entries[i].cookie)
			*place(entries, room, map->entries[i].cookie) = map->entries[i];
	free(map->entries);
	map->entries = entries;
	map->room = room;
	return 0;
}

static bool is_full(size_t count, size_t room)
{
	return count + count / 2 >= room;
}

int cookie_map_reserve(struct cookie_map *map, size_t count)
{
	size_t room = map->room ? map->room : FIRST_ROOM;

	while (is_full(count, room))
		room *= 2;
	return room > map->room ? grow_to(map, room) : 0;
}

int cookie_map_add(struct cookie_map *map, uint64_t cookie, uint32_t value)
{
	struct cookie_entry *entry;

	if (!cookie)
		return 1;
	if (is_full(map->count, map->room) &&
	    grow_to(map, map->room ? map->room * 4 : FIRST_ROOM) != 0)
		return -ENOMEM;
	entry = place(map->entries, map->room, cookie);
	if (entry->cookie)
		return 1;
	entry->cookie = cookie;
	entry->value = value;
	map->count++;
	return 0;
}

uint32_t *cookie_map_find(const struct cookie_map *map, uint64_t cookie)
{
	struct cookie_entry *entry;

	if (!cookie || !map->count)
		return NULL;
	entry = place(map->entries, map->room, cookie);
	return entry->cookie ? &entry->value : NULL;
}

void cookie_map_prefetch(const struct cookie_map *map, uint64_t cookie)
{
	if (map->room)
		__builtin_prefetch(&map->entries[first_place(cookie, map->room)]);
}

void cookie_map_clear(struct cookie_map *map)
{
	if (map->room)
		memset(map->entries, 0, map->room * sizeof(*map->entries));
	map->count = 0;
}

void cookie_map_free(struct cookie_map *map)
{
	free(map->entries);
	*map = (struct cookie_map){0};
}
