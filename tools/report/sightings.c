/* SPDX-License-Identifier: MIT */
#include "tools/report/sightings.h"

#include <string.h>

#include "tools/base/json.h"
#include "tools/base/print.h"

#define ROWS 20
#define LINE 512

/* Sockets to the same destination that still have no owner. They may be from this
 * program, but nothing proves it. */
static uint64_t unowned_to(const struct owners *owners, const struct tws_address *to)
{
	uint64_t count = 0;

	for (size_t i = 0; i < owners->count; i++)
		if (owners->groups[i].kind == OWNERS_OUTGOING &&
		    memcmp(&owners->groups[i].to, to, sizeof(*to)) == 0)
			count += owners->groups[i].count;
	return count;
}

static void print_one(FILE *out, const struct sightings *sightings,
		      const struct sighting *sighting)
{
	char what[LINE], how[LINE], to[PRINT_ADDRESS_SIZE], number[PRINT_NUMBER_SIZE];

	fprintf(out, "  %s\n", sighting_describe(what, sizeof(what), sighting));
	fprintf(out, "      to %s", print_address(to, &sighting->to));
	if (sightings->counted)
		fprintf(out, ": %s %s (%.0f per second)",
			print_number(number, sighting->connections),
			print_plural(sighting->connections, "connection", "connections"),
			(double)sighting->connections / sightings->seconds);
	fprintf(out, "; %s\n", sighting_how(how, sizeof(how), sightings, sighting));
}

/* Printed once per destination, after the first program that was seen there. */
static bool is_first_there(const struct sightings *sightings, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (memcmp(&sightings->list[i].to, &sightings->list[index].to,
			   sizeof(sightings->list[i].to)) == 0)
			return false;
	return true;
}

static void print_earlier(FILE *out, const struct owners *owners,
			  const struct sighting *sighting)
{
	char to[PRINT_ADDRESS_SIZE], number[PRINT_NUMBER_SIZE], app[2 * SIGHTING_APP];
	uint64_t count = unowned_to(owners, &sighting->to);

	if (count)
		fprintf(out,
			"  %s earlier %s to %s: to the same destination as %s; nothing "
			"proves "
			"whose they are\n",
			print_number(number, count),
			print_plural(count, "socket", "sockets"),
			print_address(to, &sighting->to),
			print_escape(app, sizeof(app), sighting->app));
}

void sightings_print_text(FILE *out, const struct sightings *sightings,
			  const struct owners *owners, bool color)
{
	fprintf(out, "\n%sPrograms that connect to the same destinations now:%s\n",
		print_style(PRINT_BOLD, color), print_style(PRINT_PLAIN, color));
	if (!sightings->count)
		fprintf(out, "  none was seen in %.0f s%s\n", sightings->seconds,
			sightings->counted ? ""
					   : "; root sees more: short connections, and "
					     "those of other users");
	for (size_t i = 0; i < sightings->count && i < ROWS; i++)
		print_one(out, sightings, &sightings->list[i]);
	if (sightings->count > ROWS)
		fprintf(out, "  and %zu more; --json shows all\n",
			sightings->count - ROWS);
	for (size_t i = 0; i < sightings->count; i++)
		if (is_first_there(sightings, i))
			print_earlier(out, owners, &sightings->list[i]);
}

static json_t *text_or_null(const char *text)
{
	return *text ? print_json_text(text) : json_null();
}

static json_t *one(const struct sightings *sightings, const struct sighting *sighting,
		   const struct owners *owners)
{
	char to[PRINT_ADDRESS_SIZE], how[LINE];
	json_t *parent = json_pack("{s:i, s:o}", "pid", (int)sighting->parent, "command",
				   text_or_null(sighting->parent_command));

	return json_pack(
	    "{s:o, s:o, s:i, s:I, s:b, s:I, s:o, s:s, s:o, s:o, s:s, s:s, s:o, s:I}",
	    "app", print_json_text(sighting->app), "command",
	    text_or_null(sighting->command), "pid", (int)sighting->pid, "processes",
	    (json_int_t)sighting->processes, "alive", sighting->alive, "uid",
	    (json_int_t)sighting->uid, "unit", text_or_null(sighting->unit), "to",
	    print_address(to, &sighting->to), "connections",
	    sightings->counted ? json_integer((json_int_t)sighting->connections)
			       : json_null(),
	    "looks",
	    sightings->counted ? json_null() : json_integer((json_int_t)sighting->looks),
	    "how", sightings->counted ? "counted" : "seen", "how_text",
	    sighting_how(how, sizeof(how), sightings, sighting), "started_by", parent,
	    "unowned_to_same", (json_int_t)unowned_to(owners, &sighting->to));
}

json_t *sightings_json(const struct sightings *sightings, const struct owners *owners)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < sightings->count; i++)
		if (json_array_append_new(
			array, one(sightings, &sightings->list[i], owners)) != 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}
