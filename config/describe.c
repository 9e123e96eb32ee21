/* SPDX-License-Identifier: MIT */
#include "config/describe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/address.h"
#include "shim/shared/match.h"

/* The image that is being described, and the part being printed. */
struct scene {
	const struct tws_policy_image *image;
	struct tws_top top;
	struct tws_part part;
};

static struct scene scene_of(const struct tws_policy_image *image)
{
	return (struct scene){.image = image, .top.settings = image->settings};
}

static void take_rule(struct scene *scene, const struct tws_rule *rule)
{
	scene->part = (struct tws_part){
	    .name = rule->name, .match = rule->match, .action = rule->action};
}

static void take_arm(struct scene *scene, const struct tws_policy_arm *arm)
{
	scene->part = (struct tws_part){
	    .name = arm->name, .weight = arm->weight, .action = arm->action};
}

static void take_experiment(struct scene *scene)
{
	const struct tws_experiment *experiment = &scene->image->experiment;

	tws_part_init(&scene->part);
	scene->part.name = experiment->name;
	scene->part.seed = experiment->seed;
	scene->part.match = experiment->match;
}

static unsigned part_count(const struct scene *scene, unsigned place)
{
	return place == TWS_IN_RULE ? scene->image->rules.count
				    : scene->image->experiment.arms.count;
}

static void take_part(struct scene *scene, unsigned place, unsigned index)
{
	const struct tws_policy_image *image = scene->image;
	const struct tws_rule *rules = tws_policy_at(image, image->rules.offset);
	const struct tws_policy_arm *arms =
	    tws_policy_at(image, image->experiment.arms.offset);

	if (place == TWS_IN_RULE)
		take_rule(scene, &rules[index]);
	else
		take_arm(scene, &arms[index]);
}

static bool has_match(const struct scene *scene)
{
	const struct tws_match *match = &scene->part.match;

	return match->exe.count || tws_match_asks_names(match) || match->to.count ||
	       match->uid.count || match->short_lived_only;
}

static bool has_stop_if(const struct scene *scene)
{
	const struct tws_action *action = &scene->part.action;

	return action->stop_failed_ppm || action->stop_peer_reset_ppm ||
	       action->stop_bytes_discarded;
}

/* A group is printed if at least one of its settings is set. */
static bool has_group(const struct scene *scene, const struct tws_setting *setting)
{
	switch (setting->inside) {
	case TWS_IN_MATCH:
		return has_match(scene);
	case TWS_IN_STOP_IF:
		return has_stop_if(scene);
	case TWS_IN_EXPERIMENT:
		return scene->image->experiment.name != 0;
	default:
		return part_count(scene, setting->inside) > 0;
	}
}

static const struct tws_list *list_of(const struct scene *scene,
				      const struct tws_setting *setting)
{
	const struct tws_match *match = &scene->part.match;

	if (setting->kind == TWS_KIND_GLOBS)
		return (const void *)((const char *)&scene->part + setting->offset);
	return setting->kind == TWS_KIND_TARGETS ? &match->to : &match->uid;
}

static bool is_list(const struct tws_setting *setting)
{
	return setting->kind == TWS_KIND_GLOBS || setting->kind == TWS_KIND_TARGETS ||
	       setting->kind == TWS_KIND_USERS;
}

static bool is_group(const struct tws_setting *setting)
{
	return setting->kind == TWS_KIND_GROUP || setting->kind == TWS_KIND_PARTS;
}

/* The text in an image that our compiler did not make may be invalid UTF-8. */
static json_t *text_json(const char *text)
{
	json_t *ret = json_string(text);

	return ret ? ret : json_string("(no UTF-8)");
}

/* One element of exe, to or uid as JSON. The text printer prints this JSON. */
static json_t *element_json(const struct scene *scene, const struct tws_setting *setting,
			    unsigned index)
{
	const struct tws_list *list = list_of(scene, setting);
	const uint32_t *words = tws_policy_at(scene->image, list->offset);
	const struct tws_target *targets = tws_policy_at(scene->image, list->offset);
	char text[TWS_TARGET_TEXT_SIZE];

	if (setting->kind == TWS_KIND_GLOBS)
		return text_json(tws_policy_at(scene->image, words[index]));
	if (setting->kind == TWS_KIND_TARGETS)
		return json_string(tws_target_format(&targets[index], text));
	return json_integer(words[index]);
}

static json_t *list_json(const struct scene *scene, const struct tws_setting *setting)
{
	json_t *ret = json_array();

	for (unsigned i = 0; i < list_of(scene, setting)->count; i++)
		json_array_append_new(ret, element_json(scene, setting, i));
	return ret;
}

static json_t *value_json(const struct tws_setting *setting,
			  const struct tws_value *value)
{
	const char *word;
	size_t length;

	switch (value->type) {
	case TWS_VALUE_BOOLEAN:
		return json_boolean(value->boolean);
	case TWS_VALUE_INTEGER:
		return json_integer(value->integer);
	case TWS_VALUE_NUMBER:
		return json_real(value->number);
	default:
		break;
	}
	if (setting->kind != TWS_KIND_CHOICE)
		return json_string(value->text);
	word = tws_choice_word(setting->choices, (unsigned)value->integer, &length);
	return word ? json_stringn(word, length) : json_null();
}

/* The value of a setting that is not a group; NULL if it has its fallback. */
static json_t *setting_json(const struct scene *scene, const struct tws_setting *setting)
{
	struct tws_value value;
	char buffer[16];

	if (setting->kind == TWS_KIND_NAME)
		return scene->part.name
			   ? text_json(tws_policy_at(scene->image, scene->part.name))
			   : NULL;
	if (is_list(setting))
		return list_of(scene, setting)->count ? list_json(scene, setting) : NULL;
	if (!tws_setting_load(setting, &scene->top, &scene->part, buffer, &value))
		return NULL;
	return value_json(setting, &value);
}

/* --------------------------------------------------------------------- JSON */

static json_t *place_json(struct scene *scene, unsigned place);

static json_t *parts_json(struct scene *scene, unsigned place)
{
	json_t *ret = json_array();

	for (unsigned i = 0; i < part_count(scene, place); i++) {
		take_part(scene, place, i);
		json_array_append_new(ret, place_json(scene, place));
	}
	return ret;
}

static json_t *group_json(struct scene *scene, const struct tws_setting *setting)
{
	if (setting->kind == TWS_KIND_PARTS)
		return parts_json(scene, setting->inside);
	if (setting->inside == TWS_IN_EXPERIMENT)
		take_experiment(scene);
	return place_json(scene, setting->inside);
}

static json_t *place_json(struct scene *scene, unsigned place)
{
	json_t *ret = json_object(), *value;

	for (unsigned i = 0; i < TWS_SETTING_COUNT; i++) {
		const struct tws_setting *setting = &tws_setting_table[i];

		if (!(setting->places & place))
			continue;
		if (!is_group(setting))
			value = setting_json(scene, setting);
		else
			value =
			    has_group(scene, setting) ? group_json(scene, setting) : NULL;
		if (value)
			json_object_set_new(ret, setting->name, value);
	}
	return ret;
}

json_t *tws_describe_json(const struct tws_policy_image *image)
{
	struct scene scene = scene_of(image);

	return place_json(&scene, TWS_IN_FILE);
}

/* ---------------------------------------------------- text, made from the JSON */

/* Returns the length in bytes of a character that a terminal would obey instead of
 * showing it (control characters, and those that change the direction of text), or 0.
 * `text` is UTF-8. */
static size_t is_obeyed(const unsigned char *text)
{
	if (text[0] < ' ' || text[0] == 0x7f)
		return 1;
	if (text[0] == 0xc2 && text[1] < 0xa0)
		return 2;
	if (text[0] != 0xe2)
		return 0;
	return (text[1] == 0x80 && text[2] >= 0xa8 && text[2] <= 0xae) ||
		       (text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9)
		   ? 3
		   : 0;
}

static void print_string(FILE *out, const char *text)
{
	size_t escaped = 0;

	fputc('"', out);
	for (; *text; text++) {
		if (!escaped)
			escaped = is_obeyed((const unsigned char *)text);
		if (escaped) {
			fprintf(out, "\\x%02x", (unsigned char)*text);
			escaped--;
			continue;
		}
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

/* libconfig accepts an integer of more than 32 bits only with an L. */
static void print_integer(FILE *out, json_int_t number)
{
	fprintf(out, "%" JSON_INTEGER_FORMAT "%s", number, number > INT32_MAX ? "L" : "");
}

static void print_value(FILE *out, const json_t *value)
{
	size_t i;
	json_t *element;
	bool lists;

	switch (json_typeof(value)) {
	case JSON_STRING:
		print_string(out, json_string_value(value));
		break;
	case JSON_INTEGER:
		print_integer(out, json_integer_value(value));
		break;
	case JSON_REAL:
		fprintf(out, "%.4f", json_real_value(value));
		break;
	case JSON_ARRAY:
		/* An array in [ ] cannot hold both 32-bit and 64-bit integers. */
		lists = json_is_integer(json_array_get(value, 0));
		fputs(lists ? "(" : "[", out);
		json_array_foreach(value, i, element)
		{
			fputs(i ? ", " : "", out);
			print_value(out, element);
		}
		fputs(lists ? ")" : "]", out);
		break;
	default:
		fputs(json_is_true(value) ? "true" : "false", out);
	}
}

static void print_settings(FILE *out, const json_t *object, const char *indent,
			   const char *between);

/* In rules and arms, each group begins on a new line. */
static void print_parts(FILE *out, const char *name, const json_t *parts,
			const char *indent)
{
	char inner[16];
	json_t *part;
	size_t i;

	snprintf(inner, sizeof(inner), "%s    ", indent);
	fprintf(out, "%s = (", name);
	json_array_foreach(parts, i, part)
	{
		fprintf(out, "%s\n%s  { ", i ? "," : "", indent);
		print_settings(out, part, inner, "\n");
		fputs(" }", out);
	}
	fprintf(out, "\n%s);", indent);
}

static void print_setting(FILE *out, const char *name, const json_t *value,
			  const char *indent)
{
	bool breaks = strcmp(name, "experiment") == 0;

	if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
		print_parts(out, name, value, indent);
	} else if (json_is_object(value)) {
		fprintf(out, "%s = { ", name);
		print_settings(out, value, "  ", breaks ? "\n" : " ");
		fputs(" };", out);
	} else {
		fprintf(out, "%s = ", name);
		print_value(out, value);
		fputc(';', out);
	}
}

static void print_settings(FILE *out, const json_t *object, const char *indent,
			   const char *between)
{
	const char *name;
	json_t *value;
	bool first = true;

	json_object_foreach((json_t *)object, name, value)
	{
		if (!first)
			fprintf(out, "%s%s", between, *between == '\n' ? indent : "");
		print_setting(out, name, value, indent);
		first = false;
	}
}

/* Prints an object's settings, then `end`, into a new text. Drops the reference to the
 * object. */
static char *text_of(json_t *object, const char *between, const char *end)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out && object) {
		print_settings(out, object, "", between);
		fputs(end, out);
	}
	if (out)
		fclose(out);
	json_decref(object);
	return text;
}

char *tws_describe_text(const struct tws_policy_image *image)
{
	return text_of(tws_describe_json(image), "\n", "\n");
}

char *tws_describe_action(const struct tws_action *action)
{
	static const struct tws_policy_image NONE;
	struct scene scene = {.image = &NONE};

	scene.part.action = *action;
	return text_of(place_json(&scene, TWS_IN_RULE), " ", "");
}
