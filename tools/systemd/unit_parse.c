/* SPDX-License-Identifier: MIT
 *
 * The language of unit files; see systemd.syntax(7).
 */
#include "tools/systemd/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/base/array.h"

#define BLANKS " \t\r"

static int unit_add_setting(struct unit *unit, const char *name, size_t length,
			    const char *value)
{
	struct unit_setting *grown =
	    array_grow(unit->settings, unit->count, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	unit->settings = grown;
	grown = &unit->settings[unit->count];
	grown->name = strndup(name, length);
	grown->value = strdup(value);
	if (grown->name && grown->value)
		return unit->count++, 0;
	free(grown->name);
	free(grown->value);
	return -ENOMEM;
}

void unit_free(struct unit *unit)
{
	for (size_t i = 0; i < unit->count; i++) {
		free(unit->settings[i].name);
		free(unit->settings[i].value);
	}
	free(unit->settings);
	unit->settings = NULL;
	unit->count = 0;
}

static char *trim(char *line)
{
	char *end;

	line += strspn(line, BLANKS);
	end = line + strlen(line);
	while (end > line && strchr(BLANKS, end[-1]))
		end--;
	*end = '\0';
	return line;
}

/* One logical line. */
static int take_line(struct unit *unit, char *line, bool *in_service)
{
	char *value, *end;

	line = trim(line);
	if (*line == '[') {
		*in_service = strcmp(line, "[Service]") == 0;
		return 0;
	}
	value = strchr(line, '=');
	if (!*in_service || !value)
		return 0;
	end = value++;
	while (end > line && strchr(BLANKS, end[-1]))
		end--;
	return unit_add_setting(unit, line, (size_t)(end - line),
				value + strspn(value, BLANKS));
}

static bool is_comment(const char *line)
{
	line += strspn(line, BLANKS);
	return *line == '#' || *line == ';';
}

/* A line that ends with a backslash continues in the next line, with a blank between
 * them; comments in between are ignored. Lines are joined in place: what is read is
 * never behind what is written. */
int unit_parse(struct unit *unit, const char *text)
{
	char *copy = strdup(text), *next = copy, *line, *joined = copy, *end = copy;
	bool in_service = false, goes_on = false;
	int result = copy ? 0 : -ENOMEM;

	while (result == 0 && (line = strsep(&next, "\n")) != NULL) {
		size_t length = strlen(line);

		if (is_comment(line))
			continue;
		if (!goes_on)
			joined = end = line;
		goes_on = length && line[length - 1] == '\\';
		memmove(end, line, length + 1);
		end += length;
		if (goes_on)
			end[-1] = ' ';
		else
			result = take_line(unit, joined, &in_service);
	}
	if (result == 0 && goes_on)
		result = take_line(unit, joined, &in_service);
	free(copy);
	return result;
}

/* ---------------------------------------------------------------------- settings */

const char *unit_value(const struct unit *unit, const char *name)
{
	for (size_t i = unit->count; i > 0; i--)
		if (strcmp(unit->settings[i - 1].name, name) == 0)
			return *unit->settings[i - 1].value ? unit->settings[i - 1].value
							    : NULL;
	return NULL;
}

const char *unit_next(const struct unit *unit, const char *name, size_t *at)
{
	size_t first = 0;

	for (size_t i = 0; i < unit->count; i++)
		if (strcmp(unit->settings[i].name, name) == 0 &&
		    !*unit->settings[i].value)
			first = i + 1;
	for (size_t i = *at > first ? *at : first; i < unit->count; i++)
		if (strcmp(unit->settings[i].name, name) == 0) {
			*at = i + 1;
			return unit->settings[i].value;
		}
	return NULL;
}

bool unit_is_on(const struct unit *unit, const char *name)
{
	static const char *const on[] = {"1", "yes", "y", "true", "t", "on"};
	const char *value = unit_value(unit, name);

	for (size_t i = 0; value && i < sizeof(on) / sizeof(*on); i++)
		if (strcasecmp(value, on[i]) == 0)
			return true;
	return false;
}

/* ------------------------------------------------------------------------- words */

/* Reads a C escape after its backslash. Anything else is kept as it is, with its
 * backslash. */
static char unescape(const char **at)
{
	static const char letters[] = "abfnrtvs\\\"'", values[] = "\a\b\f\n\r\t\v \\\"'";
	const char *found = **at ? strchr(letters, **at) : NULL;
	char digits[3] = "";

	if (found) {
		(*at)++;
		return values[found - letters];
	}
	if (**at == 'x' && (*at)[1] && (*at)[2]) {
		memcpy(digits, *at + 1, 2);
		*at += 3;
		return (char)strtol(digits, NULL, 16);
	}
	return '\\';
}

int unit_word(const char **at, char *ret_word, size_t size)
{
	const char *from = *at + strspn(*at, BLANKS);
	size_t length = 0;
	char quote = '\0';

	if (!*from)
		return 0;
	while (*from && (quote || !strchr(BLANKS, *from))) {
		char c = *from++;

		if (quote && c == quote) {
			quote = '\0';
			continue;
		}
		if (!quote && (c == '"' || c == '\'')) {
			quote = c;
			continue;
		}
		if (c == '\\')
			c = unescape(&from);
		if (length + 1 >= size)
			return -ENAMETOOLONG;
		ret_word[length++] = c;
	}
	ret_word[length] = '\0';
	*at = from;
	return quote ? -EINVAL : 1;
}

void unit_write_escaped(FILE *out, const char *text, const char *doubled)
{
	for (; *text; text++) {
		if (strchr("\"\\", *text))
			fputc('\\', out);
		else if (strchr(doubled, *text))
			fputc(*text, out);
		fputc(*text, out);
	}
}

void unit_write_quoted(FILE *out, const char *text, const char *doubled)
{
	fputc('"', out);
	unit_write_escaped(out, text, doubled);
	fputc('"', out);
}

bool unit_environment(const struct unit *unit, const char *variable, char *ret_value,
		      size_t size)
{
	char word[UNIT_VALUE_SIZE];
	size_t length = strlen(variable), at = 0;
	const char *value;
	bool found = false;

	while ((value = unit_next(unit, "Environment", &at)) != NULL)
		while (unit_word(&value, word, sizeof(word)) == 1)
			if (strncmp(word, variable, length) == 0 && word[length] == '=') {
				snprintf(ret_value, size, "%s", word + length + 1);
				found = true;
			}
	return found;
}

bool unit_lists(const struct unit *unit, const char *name, const char *word)
{
	char each[UNIT_VALUE_SIZE];
	const char *value;
	size_t at = 0;

	while ((value = unit_next(unit, name, &at)) != NULL)
		while (unit_word(&value, each, sizeof(each)) == 1)
			if (strcmp(each, word) == 0)
				return true;
	return false;
}

/* -------------------------------------------------------------------- specifiers */

/* The value of a specifier; NULL: it is not known without systemd. */
static const char *specifier(const struct unit *unit, const struct unit_place *place,
			     char letter, char *buffer, size_t size)
{
	const char *at = strchr(unit->name, '@'), *dot = strrchr(unit->name, '.');
	const char *end = at ? at : dot, *start;

	switch (letter) {
	case '%':
		return "%";
	case 'n':
		return unit->name;
	case 'N':
		snprintf(buffer, size, "%.*s", (int)(dot - unit->name), unit->name);
		return buffer;
	case 'p':
	case 'P':
		snprintf(buffer, size, "%.*s", (int)(end - unit->name), unit->name);
		return buffer;
	case 'j':
		for (start = end; start > unit->name && start[-1] != '-';)
			start--;
		snprintf(buffer, size, "%.*s", (int)(end - start), start);
		return buffer;
	case 'i':
		snprintf(buffer, size, "%.*s", at ? (int)(dot - at - 1) : 0,
			 at ? at + 1 : "");
		return buffer;
	case 't':
		return place->user ? getenv("XDG_RUNTIME_DIR") : "/run";
	default:
		return NULL;
	}
}

bool unit_expand(const struct unit *unit, const struct unit_place *place,
		 const char *text, char *ret_text, size_t size)
{
	char buffer[UNIT_NAME_SIZE];
	size_t length = 0;

	for (; *text; text++) {
		char one[2] = {*text, '\0'};
		const char *part = one;

		if (*text == '%' && text[1])
			part = specifier(unit, place, *++text, buffer, sizeof(buffer));
		if (!part || length + strlen(part) >= size)
			return false;
		strcpy(ret_text + length, part);
		length += strlen(part);
	}
	ret_text[length] = '\0';
	return true;
}
