/* SPDX-License-Identifier: MIT
 *
 * The ledger as a file: JSON with names as keys, so that another version of twshim finds
 * what it knows. The file is written beside the old one and renamed.
 */
#include "tools/metrics/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/kernel/naming.h"
#include "config/address.h"
#include "tools/base/array.h"
#include "tools/base/json.h"
#include "tools/base/print.h"
#include "tools/segments/names.h"

#define TEMPORARY LEDGER_FILE ".tmp"
#define SIZE_MAX_ (64l << 20)

static uint64_t get_number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* --------------------------------------------------------------------- writing */

static json_t *line(const struct ledger_line *line)
{
	return json_pack("[I, I]", (json_int_t)line->offset, (json_int_t)line->shown);
}

static json_t *lines(const struct ledger_line *list)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		if (list[i].offset || list[i].shown)
			json_object_set_new(object, counter_texts[i].name,
					    line(&list[i]));
	return object;
}

static json_t *values(const uint64_t *list)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		if (list[i])
			json_object_set_new(object, counter_texts[i].name,
					    json_count(list[i]));
	return object;
}

static json_t *histograms(const struct ledger_histogram *list)
{
	json_t *object = json_object(), *counts;

	for (unsigned h = 0; h < TWS_HISTOGRAMS; h++) {
		counts = json_array();
		for (unsigned i = 0; i < TWS_BUCKETS; i++)
			json_array_append_new(counts, line(&list[h].count[i]));
		json_object_set_new(
		    object, histogram_names[h],
		    json_pack("{s:o, s:o}", "count", counts, "sum", line(&list[h].sum)));
	}
	return object;
}

static json_t *destinations(const struct ledger_app *app)
{
	json_t *array = json_array();
	const struct ledger_destination *slot;
	char to[PRINT_ADDRESS_SIZE];

	for (unsigned i = 0; i < app->count; i++) {
		slot = &app->destinations[i];
		json_array_append_new(
		    array,
		    json_pack("{s:s, s:o, s:I, s:o}", "to", print_address(to, &slot->to),
			      "attempts", json_count(slot->attempts), "changed",
			      (json_int_t)slot->changed, "lines", lines(slot->lines)));
	}
	return array;
}

/* A name that is not UTF-8 is kept as an array of its bytes. */
static json_t *name_array(const char *name)
{
	json_t *array = json_array();

	for (; *name; name++)
		json_array_append_new(array, json_integer((unsigned char)*name));
	return array;
}

static json_t *name_value(const char *name)
{
	json_t *value = json_string(name);

	return value ? value : name_array(name);
}

static json_t *app_object(const struct ledger_app *app)
{
	return json_pack("{s:o, s:o, s:o, s:I, s:b, s:o, s:o, s:o, s:o, s:o}", "app",
			 name_value(app->name), "unit", name_value(app->unit), "attempts",
			 json_count(app->attempts), "seen", (json_int_t)app->seen, "full",
			 app->full, "lines", lines(app->lines), "histograms",
			 histograms(app->histograms), "retired", values(app->retired),
			 "other", values(app->other), "destinations", destinations(app));
}

/* Writes through stdio, because jansson would write each token to a descriptor
 * separately. */
static int write_json(const json_t *object, int fd)
{
	FILE *file = fdopen(fd, "w");
	int result;

	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	result = json_dumpf(object, file, JSON_COMPACT) == 0 ? 0 : -EIO;
	return fclose(file) == 0 ? result : -errno;
}

const char *ledger_file_name(void)
{
	return naming_is_limited() ? LEDGER_LIMITED_FILE : LEDGER_FILE;
}

int ledger_save(const struct ledger *ledger, int directory)
{
	json_t *apps = json_array(), *object;
	int fd, result;

	for (unsigned i = 0; i < ledger->count; i++)
		json_array_append_new(apps, app_object(ledger->apps[i]));
	object = json_pack("{s:s, s:o, s:o}", "schema", "twshim.metrics-state/1",
			   "dropped", json_count(ledger->dropped), "apps", apps);
	unlinkat(directory, TEMPORARY, 0);
	fd = openat(directory, TEMPORARY,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	result = fd < 0 ? -errno : write_json(object, fd);
	if (result == 0 &&
	    renameat(directory, TEMPORARY, directory, ledger_file_name()) != 0)
		result = -errno;
	if (result != 0 && fd >= 0)
		unlinkat(directory, TEMPORARY, 0);
	json_decref(object);
	return result;
}

/* --------------------------------------------------------------------- reading */

static struct ledger_line get_line(const json_t *array)
{
	return (struct ledger_line){
	    .offset = json_integer_value(json_array_get(array, 0)),
	    .shown = (uint64_t)json_integer_value(json_array_get(array, 1)),
	};
}

static void get_lines(const json_t *object, struct ledger_line *ret_lines)
{
	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		ret_lines[i] = get_line(json_object_get(object, counter_texts[i].name));
}

static void get_values(const json_t *object, uint64_t *ret_values)
{
	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		ret_values[i] = get_number(object, counter_texts[i].name);
}

static void get_histograms(const json_t *object, struct ledger_histogram *ret_list)
{
	const json_t *one, *counts;

	for (unsigned h = 0; h < TWS_HISTOGRAMS; h++) {
		one = json_object_get(object, histogram_names[h]);
		counts = json_object_get(one, "count");
		for (unsigned i = 0; i < TWS_BUCKETS; i++)
			ret_list[h].count[i] = get_line(json_array_get(counts, i));
		ret_list[h].sum = get_line(json_object_get(one, "sum"));
	}
}

/* Returns a time in the past: one in the future would never become old. */
static time_t get_time(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));
	time_t now = time(NULL);

	return value < 0 ? 0 : value > now ? now : (time_t)value;
}

static int get_destinations(const json_t *array, struct ledger_app *app)
{
	struct ledger_destination *slot;
	struct tws_problem problem;
	const json_t *object;
	const char *to;
	size_t i;

	app->destinations = calloc(LEDGER_DESTINATIONS, sizeof(*slot));
	if (!app->destinations)
		return -ENOMEM;
	json_array_foreach((json_t *)array, i, object)
	{
		slot = &app->destinations[app->count];
		to = json_string_value(json_object_get(object, "to"));
		if (app->count == LEDGER_DESTINATIONS || !to ||
		    !tws_address_parse(to, &slot->to, &problem))
			continue;
		slot->attempts = get_number(object, "attempts");
		slot->changed = get_time(object, "changed");
		get_lines(json_object_get(object, "lines"), slot->lines);
		app->count++;
	}
	return 0;
}

static bool get_name(const json_t *value, char *ret_name, size_t size)
{
	size_t length = json_is_array(value) ? json_array_size(value) : 0;

	if (json_is_string(value)) {
		snprintf(ret_name, size, "%s", json_string_value(value));
		return true;
	}
	for (size_t i = 0; i < length && i + 1 < size; i++)
		ret_name[i] = (char)json_integer_value(json_array_get(value, i));
	return length > 0;
}

static int load_app(struct ledger *ledger, const json_t *object)
{
	struct ledger_app *app,
	    **grown = array_grow(ledger->apps, ledger->count, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	ledger->apps = grown;
	app = calloc(1, sizeof(*app));
	if (!app)
		return -ENOMEM;
	if (!get_name(json_object_get(object, "app"), app->name, sizeof(app->name))) {
		free(app);
		return 0;
	}
	ledger->apps[ledger->count++] = app;
	get_name(json_object_get(object, "unit"), app->unit, sizeof(app->unit));
	app->attempts = get_number(object, "attempts");
	app->seen = get_time(object, "seen");
	app->full = json_is_true(json_object_get(object, "full"));
	get_lines(json_object_get(object, "lines"), app->lines);
	get_histograms(json_object_get(object, "histograms"), app->histograms);
	get_values(json_object_get(object, "retired"), app->retired);
	get_values(json_object_get(object, "other"), app->other);
	return get_destinations(json_object_get(object, "destinations"), app);
}

static json_t *read_json(int directory)
{
	int fd = openat(directory, ledger_file_name(),
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	json_t *object = NULL;
	struct stat st;

	if (!file) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < SIZE_MAX_)
		object = json_loadf(file, 0, NULL);
	fclose(file);
	return object;
}

int ledger_load(struct ledger *ledger, int directory)
{
	json_t *object = read_json(directory);
	const json_t *apps = json_object_get(object, "apps");
	size_t count = json_array_size(apps);
	int result = 0;

	*ledger = (struct ledger){.dropped = get_number(object, "dropped")};
	if (count > LEDGER_APPS)
		count = LEDGER_APPS;
	for (size_t i = 0; result == 0 && i < count; i++)
		result = load_app(ledger, json_array_get(apps, i));
	json_decref(object);
	if (result != 0)
		ledger_free(ledger);
	return result;
}
