/* SPDX-License-Identifier: MIT
 *
 * Describes the settings, for the manual and for `policy settings`.
 */
#include "config/describe.h"

#include <stdio.h>
#include <string.h>

static const struct {
	unsigned place;
	const char *name;
} PLACES[] = {
    {TWS_IN_FILE, "file"},
    {TWS_IN_RULE, "rule"},
    {TWS_IN_MATCH, "match"},
    {TWS_IN_STOP_IF, "stop_if"},
    {TWS_IN_EXPERIMENT, "experiment"},
    {TWS_IN_ARM, "arm"},
};

#define PLACE_COUNT (sizeof(PLACES) / sizeof(*PLACES))

static void print_places(FILE *out, const struct tws_setting *setting)
{
	bool first = true;

	for (size_t i = 0; i < PLACE_COUNT; i++) {
		if (!(setting->places & PLACES[i].place))
			continue;
		fprintf(out, "%s%s", first ? "" : ", ", PLACES[i].name);
		first = false;
	}
}

char *tws_describe_settings_text(void)
{
	char *text = NULL, range[160];
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (unsigned i = 0; i < TWS_SETTING_COUNT; i++) {
		const struct tws_setting *setting = &tws_setting_table[i];

		tws_setting_describe_range(setting, range, sizeof(range));
		fprintf(out, "%s (in: ", setting->name);
		print_places(out, setting);
		fprintf(out, ")\n    %s\n    %s%s%s\n", setting->help, range,
			*setting->fallback ? "; default " : "", setting->fallback);
	}
	fclose(out);
	return text;
}

char *tws_describe_settings_markdown(void)
{
	char *text = NULL, range[160];
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fputs("| setting | stands in | value | default | what it does |\n"
	      "|---|---|---|---|---|\n",
	      out);
	for (unsigned i = 0; i < TWS_SETTING_COUNT; i++) {
		const struct tws_setting *setting = &tws_setting_table[i];
		const char *tick = *setting->fallback ? "`" : "";

		tws_setting_describe_range(setting, range, sizeof(range));
		fprintf(out, "| `%s` | ", setting->name);
		print_places(out, setting);
		fprintf(out, " | %s | %s%s%s | %s |\n", range, tick, setting->fallback,
			tick, setting->help);
	}
	fclose(out);
	return text;
}

static json_t *places_json(const struct tws_setting *setting)
{
	json_t *ret = json_array();

	for (size_t i = 0; i < PLACE_COUNT; i++)
		if (setting->places & PLACES[i].place)
			json_array_append_new(ret, json_string(PLACES[i].name));
	return ret;
}

json_t *tws_describe_settings_json(void)
{
	json_t *ret = json_array();
	char range[160];

	for (unsigned i = 0; i < TWS_SETTING_COUNT; i++) {
		const struct tws_setting *setting = &tws_setting_table[i];

		tws_setting_describe_range(setting, range, sizeof(range));
		json_array_append_new(
		    ret, json_pack("{s:s, s:o, s:s, s:s, s:s}", "name", setting->name,
				   "places", places_json(setting), "value", range,
				   "default", setting->fallback, "help", setting->help));
	}
	return ret;
}
