/* SPDX-License-Identifier: MIT */
#include "config/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The kinds and cells of settings.def, written as initialisers. */
#define BOOLEAN		   .kind = TWS_KIND_BOOLEAN
#define SWITCH		   .kind = TWS_KIND_SWITCH
#define INTEGER(l, h)	   .kind = TWS_KIND_INTEGER, .low = l, .high = h
#define PERCENT		   .kind = TWS_KIND_PERCENT
#define CHOICE(words)	   .kind = TWS_KIND_CHOICE, .choices = words
#define PORTS		   .kind = TWS_KIND_PORTS
#define NAME		   .kind = TWS_KIND_NAME
#define GLOBS		   .kind = TWS_KIND_GLOBS
#define TARGETS		   .kind = TWS_KIND_TARGETS
#define USERS		   .kind = TWS_KIND_USERS
#define UNIX_GROUP	   .kind = TWS_KIND_UNIX_GROUP
#define GROUP(place)	   .kind = TWS_KIND_GROUP, .inside = place
#define PARTS(place, most) .kind = TWS_KIND_PARTS, .inside = place, .high = most

#define NOWHERE .base = TWS_BASE_NONE
#define CELL(type, member)                                                               \
	.offset = offsetof(struct type, member),                                         \
	.size = sizeof(((struct type *)0)->member)
#define TOP(member)	     .base = TWS_BASE_TOP, CELL(tws_top, member)
#define PART(member)	     .base = TWS_BASE_PART, CELL(tws_part, member)
#define FLAGGED(bit, member) PART(member), .on = bit
#define FLAG(bit, no_bit)    .base = TWS_BASE_PART, .on = bit, .off = no_bit

const struct tws_setting tws_setting_table[TWS_SETTING_COUNT] = {
#define SETTING(id, where, kind, cell, otherwise, text)                                  \
	[TWS_SETTING_##id] = {.name = #id,                                               \
			      .places = where,                                           \
			      kind,                                                      \
			      cell,                                                      \
			      .fallback = otherwise,                                     \
			      .help = text},
#include "config/settings.def"
};

/* Returns the name of the place, for messages. */
static const char *place_name(unsigned places)
{
	if (places & TWS_IN_FILE)
		return "the file itself";
	if (places & TWS_IN_RULE)
		return "a rule";
	if (places & TWS_IN_MATCH)
		return "match = { ... }";
	if (places & TWS_IN_STOP_IF)
		return "stop_if = { ... }";
	return places & TWS_IN_ARM ? "an arm" : "the experiment";
}

const struct tws_setting *tws_setting_find(const char *name, unsigned places)
{
	for (unsigned i = 0; i < TWS_SETTING_COUNT; i++)
		if (tws_setting_table[i].places & places &&
		    strcmp(tws_setting_table[i].name, name) == 0)
			return &tws_setting_table[i];
	return NULL;
}

/* Writes all names that are allowed in `places`, as "first|second". */
static void join_names(unsigned places, char *text, size_t size)
{
	size_t used = 0;

	*text = '\0';
	for (unsigned i = 0; i < TWS_SETTING_COUNT && used < size; i++)
		if (tws_setting_table[i].places & places)
			used +=
			    (size_t)snprintf(text + used, size - used, "%s%s",
					     used ? "|" : "", tws_setting_table[i].name);
}

void tws_setting_explain_unknown(const char *name, unsigned places,
				 struct tws_problem *problem)
{
	const struct tws_setting *elsewhere = tws_setting_find(name, ~0u);
	const char *near = NULL;
	char names[1024];
	size_t length;

	if (elsewhere) {
		tws_problem_what(problem, "%s is not allowed in %s", name,
				 place_name(places));
		tws_problem_cure(problem, "it belongs in %s",
				 place_name(elsewhere->places));
		return;
	}
	tws_problem_what(problem, "%s is not a setting", name);
	join_names(places, names, sizeof(names));
	length = tws_nearest_word(name, names, &near);
	if (length)
		tws_problem_cure(problem, "did you mean %.*s?", (int)length, near);
	else
		tws_problem_cure(problem, "`twshim policy settings` lists them all");
}

const char *tws_choice_word(const char *choices, unsigned n, size_t *ret_length)
{
	while (n-- > 0 && choices)
		choices = (choices = strchr(choices, '|')) ? choices + 1 : NULL;
	if (choices)
		*ret_length = strcspn(choices, "|");
	return choices;
}

void tws_setting_describe_range(const struct tws_setting *setting, char *text,
				size_t size)
{
	static const char *const KINDS[] = {
	    [TWS_KIND_BOOLEAN] = "true or false",
	    [TWS_KIND_SWITCH] = "true or false",
	    [TWS_KIND_PERCENT] = "a number over 0, to 100",
	    [TWS_KIND_PORTS] = "\"LOW-HIGH\" or \"full\"",
	    [TWS_KIND_NAME] = "text of 1 to 47 bytes",
	    [TWS_KIND_GLOBS] = "one glob, or a list of them",
	    [TWS_KIND_TARGETS] = "one destination, or a list of them",
	    [TWS_KIND_USERS] = "one user, or a list of them",
	    [TWS_KIND_UNIX_GROUP] = "a group's name or number",
	    [TWS_KIND_GROUP] = "a group { ... }",
	};
	size_t used = 0, length;
	const char *word;

	if (setting->kind == TWS_KIND_INTEGER && setting->high == INT64_MAX)
		snprintf(text, size, "%" PRId64 " or more", setting->low);
	else if (setting->kind == TWS_KIND_INTEGER)
		snprintf(text, size, "%" PRId64 " to %" PRId64, setting->low,
			 setting->high);
	else if (setting->kind == TWS_KIND_PARTS)
		snprintf(text, size, "a list ( { ... }, ... ) of at most %" PRId64,
			 setting->high);
	else if (setting->kind != TWS_KIND_CHOICE)
		snprintf(text, size, "%s", KINDS[setting->kind]);
	else
		for (unsigned i = 0;
		     (word = tws_choice_word(setting->choices, i, &length)) != NULL &&
		     used < size;
		     i++)
			used += (size_t)snprintf(text + used, size - used, "%s\"%.*s\"",
						 i ? ", " : "", (int)length, word);
}
