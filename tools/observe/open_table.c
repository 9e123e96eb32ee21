/* SPDX-License-Identifier: MIT */
#include "tools/observe/open_table.h"

#include <stdlib.h>

static size_t home_of(const struct open_table *table, uint64_t cookie)
{
	return (size_t)((cookie * 0x9e3779b97f4a7c15ULL) >> 32) & (table->room - 1);
}

/* Returns its place, or the place where it would be put. */
static struct open_connection *place_of_cookie(const struct open_table *table,
					       uint64_t cookie)
{
	size_t at = home_of(table, cookie);

	while (table->places[at].cookie && table->places[at].cookie != cookie)
		at = (at + 1) & (table->room - 1);
	return &table->places[at];
}

struct open_connection *open_table_find(const struct open_table *table, uint64_t cookie)
{
	struct open_connection *place =
	    table->room ? place_of_cookie(table, cookie) : NULL;

	return place && place->cookie ? place : NULL;
}

static int grow(struct open_table *table)
{
	struct open_table grown = {.room = table->room ? table->room * 2 : 1024,
				   .count = table->count};

	grown.places = calloc(grown.room, sizeof(*grown.places));
	if (!grown.places)
		return -1;
	for (size_t i = 0; i < table->room; i++)
		if (table->places[i].cookie)
			*place_of_cookie(&grown, table->places[i].cookie) =
			    table->places[i];
	free(table->places);
	*table = grown;
	return 0;
}

struct open_connection *open_table_add(struct open_table *table, uint64_t cookie)
{
	struct open_connection *place;

	if (table->count * 2 >= table->room && grow(table) != 0)
		return NULL;
	place = place_of_cookie(table, cookie);
	*place = (struct open_connection){.cookie = cookie, .slot = OPEN_NO_SLOT};
	table->count++;
	return place;
}

/* Later entries move up, so that no search ends too early. */
void open_table_remove(struct open_table *table, struct open_connection *connection)
{
	size_t hole = (size_t)(connection - table->places), at = hole, home;

	table->count--;
	for (;;) {
		at = (at + 1) & (table->room - 1);
		if (!table->places[at].cookie)
			break;
		home = home_of(table, table->places[at].cookie);
		if (((at - home) & (table->room - 1)) < ((at - hole) & (table->room - 1)))
			continue;
		table->places[hole] = table->places[at];
		hole = at;
	}
	table->places[hole] = (struct open_connection){0};
}

void open_table_free(struct open_table *table)
{
	free(table->places);
	*table = (struct open_table){0};
}
