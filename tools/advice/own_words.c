/* SPDX-License-Identifier: MIT */
#include "tools/advice/own_words.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/print.h"

static const struct own_words ROWS[] = {
#define OWN_WORDS(program, where, text, source) {program, where, text, source},
#include "tools/advice/own_words.def"
};

#define COUNT (sizeof(ROWS) / sizeof(*ROWS))

/* Whether a row is of this very program, as of hey: its users can't change its code. */
static bool is_named(const char *name)
{
	for (size_t i = 0; i < COUNT; i++)
		if (strcmp(ROWS[i].program, name) == 0)
			return true;
	return false;
}

const struct own_words *own_words_next(const struct own_words *last, const char *exe,
				       bool is_go)
{
	const char *name = print_base_name(exe);

	if (is_go && !is_named(name))
		name = "go";
	for (const struct own_words *row = last ? last + 1 : ROWS; row < ROWS + COUNT;
	     row++)
		if (fnmatch(row->program, name, 0) == 0)
			return row;
	return NULL;
}

const char *own_words_text(char *text, const struct own_words *words, const char *to)
{
	const char *from = words->text, *place;
	size_t used = 0;

	if (!to || !*to)
		to = "10.0.0.7:80";
	while ((place = strstr(from, "TO"))) {
		used += (size_t)snprintf(text + used, OWN_WORDS_SIZE - used, "%.*s%s",
					 (int)(place - from), from, to);
		from = place + 2;
	}
	snprintf(text + used, OWN_WORDS_SIZE - used, "%s", from);
	return text;
}
