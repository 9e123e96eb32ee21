/* SPDX-License-Identifier: MIT */
#include "tools/report/diff.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "tools/base/print.h"

#define LEAST	20 /* connections; a smaller change is none */
#define POOLING 10 /* times as many connections: a pool came or went */

/* The counters that are compared, and what a change is called. Any increase of a failure
 * is a change. */
static const struct compared {
	const char *counter;
	const char *what;
	json_int_t least;
} COMPARED[] = {
    {"failed_no_port", "failed because no port was free", 1},
    {"failed_address_in_use", "failed because the address was in use", 1},
    {"failed_timed_out", "timed out", 1},
    {"failed_refused", "refused", 1},
    {"failed_unreachable", "unreachable", 1},
    {"bind_failed_in_use", "bind() failed: address in use", 1},
    {"ended_local_fin", "closed first here, which leaves TIME_WAIT", LEAST},
    {"ended_reset_app", "reset by the program", LEAST},
    {"ended_reset_remote", "reset by the peer", LEAST},
    {"peak_open", "open at once, at most", LEAST},
};

#define COUNT (sizeof(COMPARED) / sizeof(*COMPARED))

json_t *diff_read(const char *path, char *ret_error, size_t size)
{
	json_error_t error;
	json_t *report = json_load_file(path, 0, &error);
	const char *schema = json_string_value(json_object_get(report, "schema"));

	if (schema && strcmp(schema, "twshim.report/1") == 0)
		return report;
	snprintf(ret_error, size,
		 "%s: %s: name a file that twshim report --json or run --json wrote",
		 path, report ? "not a report" : error.text);
	json_decref(report);
	return NULL;
}

/* ------------------------------------------------------------------ comparisons */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t count_of(const json_t *destination, const char *counter)
{
	return json_integer_value(
	    json_object_get(json_object_get(destination, "counters"), counter));
}

static const json_t *find(const json_t *array, const char *key, const char *value)
{
	json_t *item;
	size_t i;

	json_array_foreach((json_t *)array, i, item)
	{
		if (strcmp(text_of(item, key), value) == 0)
			return item;
	}
	return NULL;
}

static const json_t *find_destination(const json_t *report, const char *app,
				      const char *to)
{
	const json_t *found = find(json_object_get(report, "apps"), "app", app);

	return find(json_object_get(found, "destinations"), "to", to);
}

/* Where a change happened, and the list that it goes to. */
struct place {
	const char *app, *to;
	json_t *changes;
};

static void add(const struct place *place, const char *what, const char *counter,
		json_int_t before, json_int_t after)
{
	json_array_append_new(place->changes,
			      json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "app",
					place->app, "to", place->to, "what", what,
					"counter", counter, "old", before, "new", after));
}

static bool is_change(json_int_t before, json_int_t after, json_int_t least)
{
	json_int_t by = after > before ? after - before : before - after;

	return by >= least && by * 5 >= before;
}

static void compare_opened(const struct place *place, json_int_t before, json_int_t after)
{
	const char *what = "connections opened";

	if (!is_change(before, after, LEAST))
		return;
	if (before && after >= before * POOLING)
		what = "no longer pooled, connections opened";
	else if (after && before >= after * POOLING)
		what = "pooled now, connections opened";
	else if (!before)
		what = "new, connections opened";
	else if (!after)
		what = "no longer used, connections opened";
	add(place, what, "established", before, after);
}

/* Either destination may be NULL, which has counted nothing. */
static void compare(const struct place *place, const json_t *before, const json_t *after)
{
	compare_opened(place, count_of(before, "established"),
		       count_of(after, "established"));
	for (size_t i = 0; i < COUNT; i++) {
		json_int_t was = count_of(before, COMPARED[i].counter);
		json_int_t is = count_of(after, COMPARED[i].counter);

		if (is_change(was, is, COMPARED[i].least))
			add(place, COMPARED[i].what, COMPARED[i].counter, was, is);
	}
}

/* Compares each destination of a report with that of another. With `only_missing`, only
 * those that the other has not. */
static void compare_all(json_t *changes, const json_t *report, const json_t *other,
			bool only_missing)
{
	json_t *app, *one;
	size_t i, k;

	json_array_foreach(json_object_get(report, "apps"), i, app)
	{
		json_array_foreach(json_object_get(app, "destinations"), k, one)
		{
			const struct place place = {text_of(app, "app"),
						    text_of(one, "to"), changes};
			const json_t *match =
			    find_destination(other, place.app, place.to);

			if (!only_missing)
				compare(&place, match, one);
			else if (!match)
				compare(&place, one, NULL);
		}
	}
}

static bool has_finding(const json_t *report, const json_t *finding)
{
	json_t *other;
	size_t i;

	json_array_foreach(json_object_get(report, "advice"), i, other)
	{
		if (strcmp(text_of(other, "id"), text_of(finding, "id")) == 0 &&
		    strcmp(text_of(other, "app"), text_of(finding, "app")) == 0 &&
		    strcmp(text_of(other, "to"), text_of(finding, "to")) == 0)
			return true;
	}
	return false;
}

/* The findings of a report that the other has not. */
static void add_findings(json_t *changes, const json_t *report, const json_t *other,
			 const char *what)
{
	json_t *finding;
	size_t i;

	json_array_foreach(json_object_get(report, "advice"), i, finding)
	{
		if (!has_finding(other, finding))
			json_array_append_new(
			    changes, json_pack("{s:s, s:s, s:s, s:s, s:s}", "app",
					       text_of(finding, "app"), "to",
					       text_of(finding, "to"), "what", what, "id",
					       text_of(finding, "id"), "title",
					       text_of(finding, "title")));
	}
}

json_t *diff_reports(const json_t *before, const json_t *after)
{
	json_t *changes = json_array();

	compare_all(changes, after, before, false);
	compare_all(changes, before, after, true);
	add_findings(changes, after, before, "new finding");
	add_findings(changes, before, after, "no longer found");
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "schema", "twshim.diff/1",
			 "from", text_of(before, "generated"), "to",
			 text_of(after, "generated"), "from_since",
			 text_of(before, "since"), "to_since", text_of(after, "since"),
			 "changes", changes);
}

/* ------------------------------------------------------------------------- text */

static void print_change(FILE *out, const json_t *change)
{
	char before[PRINT_NUMBER_SIZE], after[PRINT_NUMBER_SIZE], line[512];

	if (json_object_get(change, "counter"))
		snprintf(line, sizeof(line), "%s: %s -> %s", text_of(change, "what"),
			 print_number(before, (uint64_t)json_integer_value(
						  json_object_get(change, "old"))),
			 print_number(after, (uint64_t)json_integer_value(
						 json_object_get(change, "new"))));
	else
		snprintf(line, sizeof(line), "%s: %s %s", text_of(change, "what"),
			 text_of(change, "id"), text_of(change, "title"));
	fputs("  ", out);
	print_wrapped(out, line, 4, INT_MAX);
}

static void print_place(FILE *out, const json_t *change)
{
	char name[256], line[512];

	snprintf(line, sizeof(line), "%s%s%s",
		 print_escape(name, sizeof(name), text_of(change, "app")),
		 *text_of(change, "to") ? " to " : "", text_of(change, "to"));
	print_wrapped(out, line, 0, INT_MAX);
}

void diff_print(FILE *out, const json_t *diff)
{
	json_t *changes = json_object_get(diff, "changes"), *change, *last = NULL;
	size_t i;

	fprintf(out, "From %s to %s (UTC): ", text_of(diff, "from"), text_of(diff, "to"));
	if (json_array_size(changes) == 0)
		fputs("nothing has changed", out);
	else
		fprintf(out, "%zu %s", json_array_size(changes),
			print_plural(json_array_size(changes), "change", "changes"));
	fputc('\n', out);
	if (*text_of(diff, "from_since") && *text_of(diff, "to_since"))
		fprintf(out, "Counted since %s then, and since %s now\n",
			text_of(diff, "from_since"), text_of(diff, "to_since"));
	json_array_foreach(changes, i, change)
	{
		if (!last || strcmp(text_of(last, "app"), text_of(change, "app")) != 0 ||
		    strcmp(text_of(last, "to"), text_of(change, "to")) != 0) {
			fputc('\n', out);
			print_place(out, change);
		}
		print_change(out, change);
		last = change;
	}
}
