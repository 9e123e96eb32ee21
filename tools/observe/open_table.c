/* SPDX-License-Identifier: MIT */
#include "tools/observe/open_table.h"

#include <stdlib.h>

#define LEAST_ROOM 1024
#define MOST_ROOM  (1u << 31)

struct open_place {
	uint32_t tag;	 /* the low half of its cookie */
	uint32_t number; /* 1 + its index; 0: a free place */
};

static uint32_t home_of(const struct open_table *table, uint32_t tag)
{
	return (uint32_t)((tag * 0x9e3779b97f4a7c15ULL) >> 32) & (table->room - 1);
}

static uint32_t next_place(const struct open_table *table, uint32_t at)
{
	return (at + 1) & (table->room - 1);
}

static bool holds(const struct open_table *table, const struct open_place *place,
		  uint64_t cookie)
{
	return place->tag == (uint32_t)cookie &&
	       table->all[place->number - 1].cookie == cookie;
}

/* Returns its place, or the free place where it would be put. */
static uint32_t place_of_cookie(const struct open_table *table, uint64_t cookie)
{
	uint32_t at = home_of(table, (uint32_t)cookie);

	while (table->places[at].number && !holds(table, &table->places[at], cookie))
		at = next_place(table, at);
	return at;
}

struct open_connection *open_table_find(const struct open_table *table, uint64_t cookie)
{
	uint32_t number = 0;

	if (table->room)
		number = table->places[place_of_cookie(table, cookie)].number;
	return number ? &table->all[number - 1] : NULL;
}

static void put(struct open_table *table, uint32_t index)
{
	uint64_t cookie = table->all[index].cookie;

	table->places[place_of_cookie(table, cookie)] =
	    (struct open_place){(uint32_t)cookie, index + 1};
}

/* At most half of the places are used. */
static bool grow(struct open_table *table)
{
	struct open_table grown = *table;

	if (table->room == MOST_ROOM)
		return false;
	grown.room = table->room ? table->room * 2 : LEAST_ROOM;
	grown.all = reallocarray(table->all, grown.room / 2, sizeof(*grown.all));
	if (!grown.all)
		return false;
	table->all = grown.all;
	grown.places = calloc(grown.room, sizeof(*grown.places));
	if (!grown.places)
		return false;
	for (uint32_t i = 0; i < grown.count; i++)
		put(&grown, i);
	free(table->places);
	*table = grown;
	return true;
}

struct open_connection *open_table_add(struct open_table *table, uint64_t cookie)
{
	uint32_t index = table->count;

	if (index == table->room / 2 && !grow(table))
		return NULL;
	table->all[index] =
	    (struct open_connection){.cookie = cookie, .slot = OPEN_NO_SLOT};
	put(table, index);
	table->count++;
	return &table->all[index];
}

/* Later places move up, so that no search ends too early. */
static void free_place(struct open_table *table, uint32_t hole)
{
	uint32_t at = hole, home;

	for (;;) {
		at = next_place(table, at);
		if (!table->places[at].number)
			break;
		home = home_of(table, table->places[at].tag);
		if (((at - home) & (table->room - 1)) < ((at - hole) & (table->room - 1)))
			continue;
		table->places[hole] = table->places[at];
		hole = at;
	}
	table->places[hole] = (struct open_place){0};
}

void open_table_remove(struct open_table *table, struct open_connection *connection)
{
	struct open_connection *last = &table->all[table->count - 1];

	free_place(table, place_of_cookie(table, connection->cookie));
	if (connection != last) {
		table->places[place_of_cookie(table, last->cookie)].number =
		    (uint32_t)(connection - table->all) + 1;
		*connection = *last;
	}
	table->count--;
}

void open_table_free(struct open_table *table)
{
	free(table->all);
	free(table->places);
	*table = (struct open_table){0};
}
