/* SPDX-License-Identifier: MIT
 *
 * JSON values out of untrusted text, and the one way in which objects are printed.
 */
#ifndef TWS_TOOLS_JSON_H
#define TWS_TOOLS_JSON_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* Any text as a JSON string: bytes that are not UTF-8 are replaced. A new reference;
 * NULL: out of memory. */
json_t *print_json_text(const char *text);

/* The same, or null where the text is empty (or NULL). */
json_t *print_json_text_or_null(const char *text);

/* A count as a JSON integer. A new reference; NULL: out of memory. */
json_t *json_count(uint64_t value);

/* Prints the object in ASCII with a newline, and drops the reference. `flags` are those
 * of json_dumpf(). 0, or -ENOMEM (also where `object` is NULL). An error of `out` is not
 * reported here: it stays in ferror(), for the one who closes or flushes `out`. */
int print_json(FILE *out, json_t *object, size_t flags);

#endif
