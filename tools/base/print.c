/* SPDX-License-Identifier: MIT */
#include "tools/base/print.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_LEAST 60
#define WIDTH_MOST  250

int print_color_parse(const char *when, enum print_color *ret_color)
{
	if (strcmp(when, "auto") == 0)
		*ret_color = PRINT_COLOR_AUTO;
	else if (strcmp(when, "never") == 0)
		*ret_color = PRINT_COLOR_NEVER;
	else if (strcmp(when, "always") == 0)
		*ret_color = PRINT_COLOR_ALWAYS;
	else
		return -EINVAL;
	return 0;
}

bool print_color_wanted(enum print_color color, FILE *out)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (color != PRINT_COLOR_AUTO)
		return color == PRINT_COLOR_ALWAYS;
	return !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0) &&
	       isatty(fileno(out)) == 1;
}

const char *print_style(enum print_style style, bool wanted)
{
	static const char *const sequences[] = {
	    [PRINT_PLAIN] = "\033[0m",	 [PRINT_BOLD] = "\033[1m",
	    [PRINT_DIM] = "\033[2m",	 [PRINT_GREEN] = "\033[32m",
	    [PRINT_YELLOW] = "\033[33m", [PRINT_RED] = "\033[31m",
	};

	return wanted ? sequences[style] : "";
}

/* ---------------------------------------------------------------- untrusted */

/* Returns the length of the valid UTF-8 sequence at `text`; 0 if there is none.
 * Overlong forms, surrogates and values above U+10FFFF are not valid. */
static size_t utf8_length(const unsigned char *text)
{
	static const struct {
		unsigned char first, last, second_first, second_last, length;
	} forms[] = {
	    {0x01, 0x7f, 0, 0, 1},	 {0xc2, 0xdf, 0x80, 0xbf, 2},
	    {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
	    {0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		if (text[0] < forms[i].first || text[0] > forms[i].last)
			continue;
		if (forms[i].length > 1 &&
		    (text[1] < forms[i].second_first || text[1] > forms[i].second_last))
			return 0;
		for (unsigned n = 2; n < forms[i].length; n++)
			if ((text[n] & 0xc0) != 0x80)
				return 0;
		return forms[i].length;
	}
	return 0;
}

/* U+0080 to U+009F are control characters to some terminals; U+202A to U+202E and U+2066
 * to U+2069 turn the direction of what follows. */
static bool is_control(const unsigned char *text, size_t length)
{
	if (length == 1)
		return text[0] < 0x20 || text[0] == 0x7f;
	if (length == 2)
		return text[0] == 0xc2 && text[1] < 0xa0;
	if (length == 3 && text[0] == 0xe2)
		return (text[1] == 0x80 && text[2] >= 0xa8 && text[2] <= 0xae) ||
		       (text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9);
	return false;
}

const char *print_escape(char *buffer, size_t size, const char *text)
{
	static const char dots[] = "...";
	const unsigned char *from = (const unsigned char *)text;
	size_t used = 0;

	while (*from) {
		size_t length = utf8_length(from);
		bool bad = !length || is_control(from, length);
		size_t need = bad ? 4 : length;

		if (used + need + sizeof(dots) > size) {
			if (size >= sizeof(dots))
				memcpy(buffer + used, dots, sizeof(dots));
			return buffer;
		}
		if (bad)
			snprintf(buffer + used, size - used, "\\x%02x", *from);
		else
			memcpy(buffer + used, from, length);
		used += need;
		from += bad ? 1 : length;
	}
	buffer[used] = '\0';
	return buffer;
}

const char *print_utf8(char *buffer, size_t size, const char *text)
{
	const unsigned char *from = (const unsigned char *)text;
	size_t used = 0;

	while (*from) {
		size_t length = utf8_length(from);
		const char *piece = length ? (const char *)from : "\xef\xbf\xbd";
		size_t piece_length = length ? length : 3;

		if (used + piece_length + 1 > size)
			break;
		memcpy(buffer + used, piece, piece_length);
		used += piece_length;
		from += length ? length : 1;
	}
	buffer[used] = '\0';
	return buffer;
}

/* ------------------------------------------------------------------ numbers */

const char *print_number(char *buffer, uint64_t number)
{
	char digits[24];
	int length = snprintf(digits, sizeof(digits), "%" PRIu64, number);
	char *to = buffer;

	for (int i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return buffer;
}

const char *print_bytes(char *buffer, uint64_t bytes)
{
	static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
	double value = (double)bytes;
	int unit = -1;

	while (value >= 999.95 && unit < 5) {
		value /= 1000;
		unit++;
	}
	if (unit < 0)
		snprintf(buffer, PRINT_NUMBER_SIZE, "%" PRIu64 " B", bytes);
	else
		snprintf(buffer, PRINT_NUMBER_SIZE, "%.1f %s", value, units[unit]);
	return buffer;
}

const char *print_duration(char *buffer, double seconds)
{
	uint64_t whole = seconds > 0 ? (uint64_t)(seconds + 0.5) : 0;

	if (seconds < 0.01)
		snprintf(buffer, PRINT_NUMBER_SIZE, "%.2f ms", seconds * 1000);
	else if (seconds < 1)
		snprintf(buffer, PRINT_NUMBER_SIZE, "%.0f ms", seconds * 1000);
	else if (seconds < 100)
		snprintf(buffer, PRINT_NUMBER_SIZE, "%.1f s", seconds);
	else if (whole < 3600)
		snprintf(buffer, PRINT_NUMBER_SIZE, "%" PRIu64 " min %" PRIu64 " s",
			 whole / 60, whole % 60);
	else
		snprintf(buffer, PRINT_NUMBER_SIZE, "%" PRIu64 " h %" PRIu64 " min",
			 whole / 3600, whole % 3600 / 60);
	return buffer;
}

const char *print_plural(uint64_t number, const char *one, const char *many)
{
	return number == 1 ? one : many;
}

const char *print_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

const char *print_address(char *buffer, const struct tws_address *address)
{
	char text[INET6_ADDRSTRLEN];

	if (address->family == TWS_IPV4 &&
	    inet_ntop(AF_INET, address->bytes, text, sizeof(text)))
		snprintf(buffer, PRINT_ADDRESS_SIZE, "%s:%u", text, address->port);
	else if (address->family == TWS_IPV6 &&
		 inet_ntop(AF_INET6, address->bytes, text, sizeof(text)))
		snprintf(buffer, PRINT_ADDRESS_SIZE, "[%s]:%u", text, address->port);
	else
		snprintf(buffer, PRINT_ADDRESS_SIZE, "other");
	return buffer;
}

const char *print_time(char *buffer, time_t time)
{
	struct tm tm;

	if (!gmtime_r(&time, &tm) ||
	    !strftime(buffer, PRINT_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(buffer, PRINT_TIME_SIZE, "unknown");
	return buffer;
}

unsigned print_width(FILE *out)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size = {0};
	unsigned width = columns ? (unsigned)strtoul(columns, NULL, 10) : 0;

	if (!width && isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0)
		width = size.ws_col;
	if (!width)
		return 0;
	return width < WIDTH_LEAST  ? WIDTH_LEAST
	       : width > WIDTH_MOST ? WIDTH_MOST
				    : width;
}

static bool begins_character(char byte)
{
	return ((unsigned char)byte & 0xc0) != 0x80;
}

/* The place of the character at this position. */
static const char *character_at(const char *text, unsigned position)
{
	for (; *text && position; position--)
		while (*++text && !begins_character(*text))
			;
	return text;
}

const char *print_cut(char *buffer, size_t size, const char *text, unsigned width)
{
	static const char mark[] = "...";
	unsigned has = 0, kept = width > strlen(mark) ? width - strlen(mark) : 0;

	for (const char *at = text; *at; at++)
		has += begins_character(*at);
	if (has <= width)
		snprintf(buffer, size, "%s", text);
	else if (!kept)
		snprintf(buffer, size, "%.*s", (int)(character_at(text, width) - text),
			 text);
	else
		snprintf(buffer, size, "%.*s%s%s",
			 (int)(character_at(text, (kept + 1) / 2) - text), text, mark,
			 character_at(text, has - kept / 2));
	return buffer;
}

void print_wrapped(FILE *out, const char *text, int indent, int width)
{
	int column = indent, most = (int)print_width(out);
	size_t length;

	if (most && most < width)
		width = most;

	while (*text) {
		length = strcspn(text, " ");
		if (column > indent && column + 1 + (int)length > width) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		} else if (column > indent) {
			fputc(' ', out);
			column++;
		}
		fprintf(out, "%.*s", (int)length, text);
		column += (int)length;
		text += length;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}
