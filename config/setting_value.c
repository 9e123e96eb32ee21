/* SPDX-License-Identifier: MIT
 *
 * Values of settings: stores them in their cells after checking type and range, and
 * reads them back.
 */
#include "config/settings.h"

#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/address.h"

/* A PORTS setting writes both ends of a range through the cell of the lower end. */
TWS_ASSERT(offsetof(struct tws_action, port_high) ==
	   offsetof(struct tws_action, port_low) + 2);
TWS_ASSERT(offsetof(struct tws_action, ring_high) ==
	   offsetof(struct tws_action, ring_low) + 2);

static void write_cell(const struct tws_setting *setting, uint64_t number,
		       struct tws_top *top, struct tws_part *part)
{
	char *base = setting->base == TWS_BASE_TOP ? (char *)top : (char *)part;
	uint8_t u8 = (uint8_t)number;
	uint16_t u16 = (uint16_t)number;
	uint32_t u32 = (uint32_t)number;
	const void *source = setting->size == 1	  ? (void *)&u8
			     : setting->size == 2 ? (void *)&u16
			     : setting->size == 4 ? (void *)&u32
						  : (void *)&number;

	memcpy(base + setting->offset, source, setting->size);
}

static uint64_t read_cell(const struct tws_setting *setting, const struct tws_top *top,
			  const struct tws_part *part)
{
	const char *cell =
	    (setting->base == TWS_BASE_TOP ? (const char *)top : (const char *)part) +
	    setting->offset;
	uint64_t u64;
	uint32_t u32;
	uint16_t u16;

	switch (setting->size) {
	case 1:
		return *(const uint8_t *)cell;
	case 2:
		memcpy(&u16, cell, sizeof(u16));
		return u16;
	case 4:
		memcpy(&u32, cell, sizeof(u32));
		return u32;
	default:
		memcpy(&u64, cell, sizeof(u64));
		return u64;
	}
}

/* Complains about a wrong type or range: names what was written and what is allowed. */
static bool refuse_value(const struct tws_setting *setting, struct tws_problem *problem,
			 const char *what)
{
	char range[160];

	tws_setting_describe_range(setting, range, sizeof(range));
	tws_problem_what(problem, "%s %s", setting->name, what);
	tws_problem_cure(problem, "write %s", range);
	return false;
}

static bool store_truth(const struct tws_setting *setting, bool truth,
			struct tws_top *top, struct tws_part *part)
{
	if (setting->size) {
		unsigned no = setting->kind == TWS_KIND_SWITCH ? 2 : 0;

		write_cell(setting, truth ? 1 : no, top, part);
		return true;
	}
	part->action.flags &= ~(setting->on | setting->off);
	part->action.flags |= truth ? setting->on : setting->off;
	return true;
}

static bool store_integer(const struct tws_setting *setting, int64_t integer,
			  struct tws_top *top, struct tws_part *part,
			  struct tws_problem *problem)
{
	char what[64];

	if (integer < setting->low || integer > setting->high) {
		snprintf(what, sizeof(what), "= %" PRId64 " is out of range", integer);
		return refuse_value(setting, problem, what);
	}
	write_cell(setting, (uint64_t)integer, top, part);
	if (setting->on)
		part->action.flags |= setting->on;
	return true;
}

static bool store_percent(const struct tws_setting *setting, double percent,
			  struct tws_part *part, struct tws_problem *problem)
{
	if (!(percent >= 0.0001 && percent <= 100))
		return refuse_value(setting, problem, "is out of range");
	write_cell(setting, (uint64_t)(percent * 10000 + 0.5), NULL, part);
	return true;
}

static bool store_choice(const struct tws_setting *setting, const char *text,
			 struct tws_top *top, struct tws_part *part,
			 struct tws_problem *problem)
{
	const char *word, *near = NULL;
	size_t length;
	char what[96];

	for (unsigned i = 0;
	     (word = tws_choice_word(setting->choices, i, &length)) != NULL; i++) {
		if (strlen(text) != length || strncmp(text, word, length) != 0)
			continue;
		if (!setting->size)
			return store_truth(setting, i > 0, top, part);
		write_cell(setting, i, top, part);
		return true;
	}
	snprintf(what, sizeof(what), "= \"%.64s\" is not one of its values", text);
	refuse_value(setting, problem, what);
	length = tws_nearest_word(text, setting->choices, &near);
	if (length)
		tws_problem_cure(problem, "did you mean \"%.*s\"?", (int)length, near);
	return false;
}

static bool store_ports(const struct tws_setting *setting, const char *text,
			struct tws_part *part, struct tws_problem *problem)
{
	uint16_t pair[2] = {0, 0};

	if (strcmp(text, "full") != 0 &&
	    !tws_ports_parse(text, &pair[0], &pair[1], problem))
		return false;
	memcpy((char *)part + setting->offset, pair, sizeof(pair));
	part->action.flags |= setting->on;
	return true;
}

static bool store_group(const struct tws_setting *setting, const struct tws_value *value,
			struct tws_top *top, struct tws_problem *problem)
{
	const struct group *group = NULL;
	int64_t gid = value->integer;

	if (value->type == TWS_VALUE_TEXT) {
		group = getgrnam(value->text);
		if (!group) {
			tws_problem_what(problem, "there is no group \"%s\" here",
					 value->text);
			tws_problem_cure(problem, "write its number, or create it first");
			return false;
		}
		gid = group->gr_gid;
	}
	if (gid < 1 || gid >= UINT32_MAX)
		return refuse_value(setting, problem, "is out of range");
	write_cell(setting, (uint64_t)gid, top, NULL);
	return true;
}

bool tws_setting_store(const struct tws_setting *setting, const struct tws_value *value,
		       struct tws_top *top, struct tws_part *part,
		       struct tws_problem *problem)
{
	bool integer = value->type == TWS_VALUE_INTEGER;
	bool text = value->type == TWS_VALUE_TEXT;

	switch (setting->kind) {
	case TWS_KIND_BOOLEAN:
	case TWS_KIND_SWITCH:
		if (value->type == TWS_VALUE_BOOLEAN)
			return store_truth(setting, value->boolean, top, part);
		break;
	case TWS_KIND_INTEGER:
		if (integer)
			return store_integer(setting, value->integer, top, part, problem);
		break;
	case TWS_KIND_PERCENT:
		if (integer || value->type == TWS_VALUE_NUMBER)
			return store_percent(
			    setting, integer ? (double)value->integer : value->number,
			    part, problem);
		break;
	case TWS_KIND_CHOICE:
		if (text)
			return store_choice(setting, value->text, top, part, problem);
		break;
	case TWS_KIND_PORTS:
		if (text)
			return store_ports(setting, value->text, part, problem);
		break;
	case TWS_KIND_UNIX_GROUP:
		if (text || integer)
			return store_group(setting, value, top, problem);
		break;
	default:
		break;
	}
	return refuse_value(setting, problem, "is of another type");
}

static bool load_ports(const struct tws_setting *setting, const struct tws_part *part,
		       char buffer[16], struct tws_value *ret_value)
{
	uint16_t pair[2];

	memcpy(pair, (const char *)part + setting->offset, sizeof(pair));
	if (pair[0] == 0)
		snprintf(buffer, 16, "full");
	else
		snprintf(buffer, 16, "%u-%u", pair[0], pair[1]);
	*ret_value = (struct tws_value){.type = TWS_VALUE_TEXT, .text = buffer};
	return true;
}

static bool load_number(const struct tws_setting *setting, uint64_t number,
			struct tws_value *ret_value)
{
	bool is_default = setting->kind == TWS_KIND_INTEGER && *setting->fallback
			      ? number == strtoull(setting->fallback, NULL, 10)
			      : number == 0;

	if (is_default || (setting->base == TWS_BASE_TOP && number == 0))
		return false;
	ret_value->type = TWS_VALUE_INTEGER;
	ret_value->integer = (int64_t)number;
	ret_value->boolean = number == 1;
	if (setting->kind == TWS_KIND_BOOLEAN || setting->kind == TWS_KIND_SWITCH)
		ret_value->type = TWS_VALUE_BOOLEAN;
	if (setting->kind == TWS_KIND_PERCENT) {
		ret_value->type = TWS_VALUE_NUMBER;
		ret_value->number = (double)number / 10000;
	}
	return true;
}

static bool load_flag(const struct tws_setting *setting, uint32_t flags,
		      struct tws_value *ret_value)
{
	*ret_value =
	    (struct tws_value){.type = TWS_VALUE_BOOLEAN, .boolean = flags & setting->on};
	ret_value->integer = ret_value->boolean;
	return flags & (setting->on | setting->off);
}

bool tws_setting_load(const struct tws_setting *setting, const struct tws_top *top,
		      const struct tws_part *part, char buffer[16],
		      struct tws_value *ret_value)
{
	bool held = true;

	*ret_value = (struct tws_value){0};
	if (setting->base == TWS_BASE_NONE || setting->kind == TWS_KIND_NAME)
		return false;
	if (!setting->size)
		held = load_flag(setting, part->action.flags, ret_value);
	else if (setting->on && !(part->action.flags & setting->on))
		return false;
	else if (setting->kind == TWS_KIND_PORTS)
		return load_ports(setting, part, buffer, ret_value);
	else
		held = load_number(setting, read_cell(setting, top, part), ret_value);
	if (held && setting->kind == TWS_KIND_CHOICE)
		ret_value->type = TWS_VALUE_TEXT; /* the word; `integer` is its index */
	return held;
}

void tws_part_init(struct tws_part *part)
{
	memset(part, 0, sizeof(*part));
	for (unsigned i = 0; i < TWS_SETTING_COUNT; i++) {
		const struct tws_setting *setting = &tws_setting_table[i];

		if (setting->base == TWS_BASE_PART && setting->kind == TWS_KIND_INTEGER &&
		    *setting->fallback)
			write_cell(setting, strtoull(setting->fallback, NULL, 10), NULL,
				   part);
	}
}
