/* SPDX-License-Identifier: MIT */
#include "config/complaint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shim/shared/text.h"

/* Nobody reads more than this many. The others are only counted. */
#define COMPLAINTS_KEPT 256

static void print_printable(char *text, size_t size, const char *format,
			    va_list arguments)
{
	vsnprintf(text, size, format, arguments);
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

void tws_problem_what(struct tws_problem *problem, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_printable(problem->what, sizeof(problem->what), format, arguments);
	va_end(arguments);
}

void tws_problem_cure(struct tws_problem *problem, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_printable(problem->cure, sizeof(problem->cure), format, arguments);
	va_end(arguments);
}

void tws_complain(struct tws_complaints *complaints, const char *file, unsigned line,
		  bool warning, const struct tws_problem *problem)
{
	struct tws_complaint *list = complaints->list;
	char *name;

	complaints->errors += !warning;
	if (complaints->count >= COMPLAINTS_KEPT)
		return;
	list = realloc(list, (complaints->count + 1) * sizeof(*list));
	if (!list)
		return;
	complaints->list = list;
	name = strdup(file);
	if (!name)
		return;
	list[complaints->count++] = (struct tws_complaint){
	    .file = name, .line = line, .warning = warning, .problem = *problem};
}

void tws_complaints_free(struct tws_complaints *complaints)
{
	for (size_t i = 0; i < complaints->count; i++)
		free(complaints->list[i].file);
	free(complaints->list);
	*complaints = (struct tws_complaints){0};
}

size_t tws_nearest_word(const char *word, const char *words, const char **ret_word)
{
	size_t length = strlen(word), best = length / 3 + 2, found = 0;

	for (const char *next = words; length <= TWS_TEXT_WORD && next;
	     words = next ? next + 1 : words) {
		size_t size, apart;

		next = strchr(words, '|');
		size = next ? (size_t)(next - words) : strlen(words);
		apart = tws_text_distance(word, length, words, size);
		if (size == length && strncasecmp(word, words, size) == 0)
			apart = 0;
		if (apart < best) {
			best = apart;
			found = size;
			*ret_word = words;
		}
	}
	return found;
}
