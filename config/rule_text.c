/* SPDX-License-Identifier: MIT */
#include "config/rule_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Converts a text to a value, of the type that its setting expects if the text allows
 * it. */
static struct tws_value read_value(const struct tws_setting *setting, const char *text)
{
	struct tws_value ret = {.type = TWS_VALUE_TEXT, .text = text};
	bool truth = strcmp(text, "true") == 0;
	char *end;

	switch (setting->kind) {
	case TWS_KIND_BOOLEAN:
	case TWS_KIND_SWITCH:
		if (truth || strcmp(text, "false") == 0) {
			ret.type = TWS_VALUE_BOOLEAN;
			ret.boolean = truth;
		}
		break;
	case TWS_KIND_INTEGER:
	case TWS_KIND_USERS:
		errno = 0;
		ret.integer = strtoll(text, &end, 10);
		if (*text && !*end && errno == 0)
			ret.type = TWS_VALUE_INTEGER;
		break;
	case TWS_KIND_PERCENT:
		ret.number = strtod(text, &end);
		if (*text && !*end)
			ret.type = TWS_VALUE_NUMBER;
		break;
	default:
		break;
	}
	return ret;
}

static void set(struct tws_draft *draft, struct tws_draft_part *part,
		const struct tws_setting *setting, const char *text, unsigned number)
{
	unsigned *said = setting->base == TWS_BASE_TOP ? draft->said : &part->said[0];
	bool is_list = setting->kind == TWS_KIND_GLOBS ||
		       setting->kind == TWS_KIND_TARGETS ||
		       setting->kind == TWS_KIND_USERS;
	struct tws_value value = read_value(setting, text);
	struct tws_problem problem = {0};

	if (said[setting - tws_setting_table] && !is_list && said == part->said) {
		tws_problem_what(&problem, "%s is set twice", setting->name);
		tws_problem_cure(&problem, "leave one out");
		tws_draft_complain(draft, number, &problem);
		return;
	}
	tws_draft_set(draft, setting->base == TWS_BASE_TOP ? NULL : part, setting, &value,
		      number);
}

/* Returns the setting that has this word as a value (close for fin-reset), or NULL. */
static const struct tws_setting *setting_of_value(const char *word)
{
	const char *choice;
	size_t length;

	for (unsigned i = 0; i < TWS_SETTING_COUNT; i++) {
		const struct tws_setting *setting = &tws_setting_table[i];

		if (!setting->choices || !(setting->places & TWS_LINE_PLACES))
			continue;
		for (unsigned n = 0;
		     (choice = tws_choice_word(setting->choices, n, &length)) != NULL;
		     n++)
			if (strlen(word) == length && strncmp(word, choice, length) == 0)
				return setting;
	}
	return NULL;
}

/* Whether the value contains another setting after a blank or a semicolon. */
static bool holds_setting(const char *value)
{
	char name[64] = "";
	size_t length;

	for (const char *at = strpbrk(value, "; "); at; at = strpbrk(at, "; ")) {
		at += strspn(at, "; ");
		length = strcspn(at, "=");
		if (!at[length] || length >= sizeof(name))
			continue;
		memcpy(name, at, length);
		name[length] = '\0';
		if (tws_setting_find(name, TWS_LINE_PLACES))
			return true;
	}
	return false;
}

static void complain_unknown(const char *word, bool has_value,
			     struct tws_problem *ret_problem)
{
	const struct tws_setting *setting = has_value ? NULL : setting_of_value(word);

	tws_setting_explain_unknown(word, TWS_LINE_PLACES, ret_problem);
	if (setting)
		tws_problem_cure(ret_problem, "did you mean %s=%s?", setting->name, word);
}

/* Reads one "name=value". */
static void read_pair(struct tws_draft *draft, struct tws_draft_part *part, char *pair,
		      unsigned number)
{
	char *equals = strchr(pair, '=');
	struct tws_problem problem = {0};
	const struct tws_setting *setting;

	if (equals)
		*equals = '\0';
	setting = tws_setting_find(pair, TWS_LINE_PLACES);
	if (setting && equals && holds_setting(equals + 1)) {
		tws_problem_what(&problem, "%s=%s contains two settings", pair,
				 equals + 1);
		tws_problem_cure(&problem, "separate them with commas, as in "
					   "close=fin-reset,to=*:443");
	} else if (setting && equals && setting->kind != TWS_KIND_GROUP) {
		set(draft, part, setting, equals + 1, number);
		return;
	} else if (setting && setting->kind == TWS_KIND_GROUP) {
		tws_problem_what(&problem, "%s is a group", pair);
		tws_problem_cure(&problem, "write what it holds, such as %s",
				 setting->inside == TWS_IN_MATCH ? "to=10.0.0.7:6379"
								 : "failed_percent=5");
	} else if (setting) {
		tws_problem_what(&problem, "%s has no value", pair);
		tws_problem_cure(&problem, "write %s=VALUE", pair);
	} else {
		complain_unknown(pair, equals != NULL, &problem);
	}
	tws_draft_complain(draft, number, &problem);
}

static void complain_no_room(struct tws_draft *draft, unsigned number)
{
	struct tws_problem problem = {0};

	tws_problem_what(&problem, "there are too many rules");
	tws_problem_cure(&problem, "join some: at most %d fit", TWS_RULES);
	tws_draft_complain(draft, number, &problem);
}

/* Whether the line contains only settings of the whole policy and none of a rule. */
static bool sets_only_globals(const struct tws_draft_part *part)
{
	for (unsigned i = 0; i < TWS_SETTING_COUNT; i++)
		if (part->said[i])
			return false;
	return true;
}

void tws_rule_text_read(struct tws_draft *draft, const char *text, unsigned number)
{
	struct tws_draft_part *part = &draft->rules[draft->rule_count];
	char *copy, *rest, *pair;

	if (draft->rule_count == TWS_RULES) {
		complain_no_room(draft, number);
		return;
	}
	copy = rest = strdup(text);
	if (!copy) {
		draft->full = true;
		return;
	}
	draft->rule_count++;
	tws_draft_begin(draft, part, number);
	while ((pair = strsep(&rest, ",")) != NULL)
		read_pair(draft, part, pair, number);
	tws_draft_flush_lists(draft, part);
	if (sets_only_globals(part)) /* it would match everything, and the rules after it
					would never be used */
		draft->rule_count--;
	free(copy);
}
