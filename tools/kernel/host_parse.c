/* SPDX-License-Identifier: MIT
 *
 * The few forms in which /proc prints numbers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kernel/host.h"
#include "tools/kernel/kernel.h"

static const char *skip_blanks(const char *text)
{
	return text + strspn(text, " \t");
}

static bool parse_host_number(const char *text, uint64_t *ret_value)
{
	char *end;

	text = skip_blanks(text);
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret_value = strtoull(text, &end, 10);
	return errno == 0;
}

/* Returns the text after `words` words of a line; NULL if the line ends before. */
static const char *skip_words(const char *text, unsigned long words)
{
	text = skip_blanks(text);
	while (words--) {
		text += strcspn(text, " \t\n");
		text = skip_blanks(text);
	}
	return *text && *text != '\n' ? text : NULL;
}

static bool parse_place(const char *text, const char *key, uint64_t *ret_value)
{
	text = skip_words(text, strtoul(key, NULL, 10));
	return text && parse_host_number(text, ret_value);
}

/* Finds the line that begins with the key up to its colon. Returns what follows the
 * colon. */
static const char *find_line(const char *text, const char *key)
{
	size_t length = strcspn(key, ":") + 1;

	while (text && strncmp(text, key, length) != 0) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return text ? text + length : NULL;
}

/* Returns the place of the word in the line, or -1. */
static long find_word(const char *line, const char *word)
{
	size_t length = strlen(word), found;

	line = skip_blanks(line);
	for (long place = 0; *line && *line != '\n'; place++) {
		found = strcspn(line, " \t\n");
		if (found == length && memcmp(line, word, length) == 0)
			return place;
		line = skip_blanks(line + found);
	}
	return -1;
}

static bool parse_column(const char *text, const char *key, uint64_t *ret_value)
{
	const char *names = find_line(text, key);
	const char *numbers = names ? find_line(names, key) : NULL;
	long place = numbers ? find_word(names, strchr(key, ':') + 1) : -1;

	if (place < 0)
		return false;
	numbers = skip_words(numbers, (unsigned long)place);
	return numbers && parse_host_number(numbers, ret_value);
}

static bool parse_pair(const char *text, const char *key, uint64_t *ret_value)
{
	const char *line = find_line(text, key);
	const char *colon = strchr(key, ':');
	long place;

	if (!line || !colon || !colon[1])
		return line && parse_host_number(line, ret_value);
	place = find_word(line, colon + 1);
	line = place < 0 ? NULL : skip_words(line, (unsigned long)place + 1);
	return line && parse_host_number(line, ret_value);
}

/* "some avg10=3.73 avg60=3.15 avg300=4.47 total=54095598": two decimals, always. */
static bool parse_pressure(const char *text, const char *key, uint64_t *ret_value)
{
	const char *field;
	uint64_t whole, decimals;

	while (text && strncmp(text, key, strlen(key)) != 0) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	field = text ? strstr(text, "avg60=") : NULL;
	if (!field || !parse_host_number(field + 6, &whole))
		return false;
	field = strchr(field, '.');
	if (!field || !parse_host_number(field + 1, &decimals) || decimals > 99)
		return false;
	*ret_value = whole * 100 + decimals;
	return true;
}

static bool parse_ports(const char *text, uint64_t *ret_value)
{
	struct kernel_ports ports;

	if (!kernel_ports_set(&ports, 0, UINT16_MAX, text))
		return false;
	*ret_value = UINT16_MAX + 1u - ports.count;
	return true;
}

/* /proc/slabinfo: "tw_sock_TCP 144 144 256 16 1 : ...": name, active, all, size. */
static bool parse_slab(const char *text, const char *key, uint64_t *ret_value)
{
	size_t length = strlen(key);

	while (text && (strncmp(text, key, length) != 0 || text[length] != ' ')) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	text = text ? skip_words(text, 3) : NULL;
	return text && parse_host_number(text, ret_value);
}

bool host_parse(enum host_form form, const char *text, const char *key,
		uint64_t *ret_value)
{
	switch (form) {
	case HOST_FORM_NUMBER:
		return parse_place(text, key, ret_value);
	case HOST_FORM_COLUMN:
		return parse_column(text, key, ret_value);
	case HOST_FORM_PAIR:
		return parse_pair(text, key, ret_value);
	case HOST_FORM_PRESSURE:
		return parse_pressure(text, key, ret_value);
	case HOST_FORM_PORTS:
		return parse_ports(text, ret_value);
	case HOST_FORM_SLAB:
		return parse_slab(text, key, ret_value);
	}
	return false;
}
