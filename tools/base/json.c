/* SPDX-License-Identifier: MIT */
#include "tools/base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/print.h"

#define REPLACED 3 /* bytes that one bad byte can become */

json_t *print_json_text(const char *text)
{
	size_t size = REPLACED * strlen(text) + 1;
	char *valid = malloc(size);
	json_t *ret = valid ? json_string(print_utf8(valid, size, text)) : NULL;

	free(valid);
	return ret;
}

json_t *print_json_text_or_null(const char *text)
{
	return text && *text ? print_json_text(text) : json_null();
}

json_t *json_count(uint64_t value)
{
	return json_integer((json_int_t)(value & INT64_MAX));
}

int print_json(FILE *out, json_t *object, size_t flags)
{
	int result = object && json_dumpf(object, out, flags | JSON_ENSURE_ASCII) == 0
			 ? 0
			 : -ENOMEM;

	json_decref(object);
	if (result == 0)
		fputc('\n', out);
	return ferror(out) ? 0 : result;
}
