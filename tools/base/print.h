/* SPDX-License-Identifier: MIT
 *
 * What every command prints with: untrusted strings made safe for a terminal or for JSON,
 * numbers for people, UTC times, colour, tables.
 */
#ifndef TWS_TOOLS_PRINT_H
#define TWS_TOOLS_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "shim/shared/segment.h"

enum print_color { PRINT_COLOR_AUTO, PRINT_COLOR_NEVER, PRINT_COLOR_ALWAYS };

/* The value of --color=WHEN: auto, never, always. -EINVAL for another word. */
int print_color_parse(const char *when, enum print_color *ret_color);

/* Whether to colour `out`: auto does on a terminal, unless $NO_COLOR is set and not empty
 * or $TERM is "dumb". */
bool print_color_wanted(enum print_color color, FILE *out);

enum print_style {
	PRINT_PLAIN,
	PRINT_BOLD,
	PRINT_DIM,
	PRINT_GREEN,
	PRINT_YELLOW,
	PRINT_RED
};

/* The escape sequence that begins a style (PRINT_PLAIN: that ends it); "" if !wanted. */
const char *print_style(enum print_style style, bool wanted);

/* Writes `text` with \xNN for control characters and for bytes that are not UTF-8, so
 * that it is safe on any terminal. Text that does not fit is cut with "...". Returns
 * `buffer`. */
const char *print_escape(char *buffer, size_t size, const char *text);

/* Writes `text` as valid UTF-8: each bad byte becomes U+FFFD. Returns `buffer`. */
const char *print_utf8(char *buffer, size_t size, const char *text);

#define PRINT_ERROR_SIZE 8192 /* a line of error: the cure stands behind the path */

#define PRINT_NUMBER_SIZE  32
#define PRINT_ADDRESS_SIZE 56
#define PRINT_TIME_SIZE	   32

/* 12,408. Returns `buffer`, of PRINT_NUMBER_SIZE at least. */
const char *print_number(char *buffer, uint64_t number);

/* 840 B, 12.4 kB, 3.1 MB. Of PRINT_NUMBER_SIZE. */
const char *print_bytes(char *buffer, uint64_t bytes);

/* 0.35 ms, 4.2 s, 3 min 20 s, 2 h 5 min. Of PRINT_NUMBER_SIZE. */
const char *print_duration(char *buffer, double seconds);

/* "connection" or "connections", as one or many. */
const char *print_plural(uint64_t number, const char *one, const char *many);

/* What follows the last slash of a path; the path itself if nothing follows. */
const char *print_base_name(const char *path);

/* 10.0.0.7:6379, [fd00::7]:6379, "other" for no family. Of PRINT_ADDRESS_SIZE. */
const char *print_address(char *buffer, const struct tws_address *address);

/* 2025-11-23T21:23:00Z. Of PRINT_TIME_SIZE. */
const char *print_time(char *buffer, time_t time);

/* Writes `text`, of which all characters take one column, cut in the middle to `width`
 * columns: "php-fpm...worker". Returns `buffer`. */
const char *print_cut(char *buffer, size_t size, const char *text, unsigned width);

/* The columns that a line of `out` may have: $COLUMNS, else those of the terminal, but 60
 * to 250; 0: not known, so any number. */
unsigned print_width(FILE *out);

/* Writes `text` broken at blanks before `width`, or before print_width(). Lines after the
 * first begin with `indent` blanks; the first is expected to have as many before it. Ends
 * with a newline. */
void print_wrapped(FILE *out, const char *text, int indent, int width);

/* A table whose columns are as wide as their widest cell. Cells are copied. */
struct print_column {
	const char *title;
	bool right;    /* aligned to the right */
	bool optional; /* left out where all its cells are "0" */
	/* The order in which columns are left out where the line is too wide: 1 is the
	 * first to go; 0 stays. */
	unsigned drop;
};

struct print_table;

#define PRINT_COLUMNS 16

/* NULL: out of memory, or more than PRINT_COLUMNS. `columns` must outlive the table. */
struct print_table *print_table_new(const struct print_column *columns, size_t count);

/* Adds one row of as many cells as there are columns. 0 or -ENOMEM. */
int print_table_add(struct print_table *table, const char *const *cells);

/* The same for cells that follow each other in one array, `size` bytes each. */
int print_table_add_array(struct print_table *table, const char *cells, size_t size);

/* Prints the titles (dim) and the rows, each line behind `indent` blanks. Where
 * print_width() is too small, it leaves out columns, says which, and then cuts the widest
 * texts in the middle. */
void print_table_write(const struct print_table *table, FILE *out, int indent,
		       bool color);

void print_table_free(struct print_table *table);

#endif
