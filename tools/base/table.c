/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"
#include "tools/base/print.h"

struct print_table {
	const struct print_column *columns;
	size_t column_count;
	char **cells; /* row by row */
	size_t cell_count;
	size_t row_count;
};

struct print_table *print_table_new(const struct print_column *columns, size_t count)
{
	struct print_table *table =
	    count > PRINT_COLUMNS ? NULL : calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->columns = columns;
	table->column_count = count;
	return table;
}

int print_table_add(struct print_table *table, const char *const *cells)
{
	char **row, **grown = array_grow(table->cells, table->row_count,
					 table->column_count * sizeof(*table->cells));

	if (!grown)
		return -ENOMEM;
	table->cells = grown;
	row = &table->cells[table->cell_count];
	for (size_t i = 0; i < table->column_count; i++) {
		row[i] = strdup(cells[i]);
		if (row[i])
			continue;
		while (i--)
			free(row[i]);
		return -ENOMEM;
	}
	table->cell_count += table->column_count;
	table->row_count++;
	return 0;
}

int print_table_add_array(struct print_table *table, const char *cells, size_t size)
{
	const char *row[PRINT_COLUMNS];

	for (size_t i = 0; i < table->column_count; i++)
		row[i] = cells + i * size;
	return print_table_add(table, row);
}

/* Counts characters, not bytes: all that we print takes one column each. */
static int text_width(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}

static bool is_left_out(const struct print_table *table, size_t column)
{
	bool left_out = table->columns[column].optional;

	for (size_t i = column; i < table->cell_count; i += table->column_count)
		left_out = left_out && strcmp(table->cells[i], "0") == 0;
	return left_out;
}

/* -1: the column is left out. */
static int column_width(const struct print_table *table, size_t column)
{
	int width = text_width(table->columns[column].title);
	int cell;

	if (is_left_out(table, column))
		return -1;
	for (size_t i = column; i < table->cell_count; i += table->column_count) {
		cell = text_width(table->cells[i]);
		if (cell > width)
			width = cell;
	}
	return width;
}

#define NARROWEST 8 /* to which a text is cut */

/* How wide the line is with columns of these widths. */
static unsigned line_width(const struct print_table *table, const int *widths,
			   unsigned indent)
{
	unsigned total = indent;

	for (size_t i = 0; i < table->column_count; i++)
		total += widths[i] < 0 ? 0 : (unsigned)widths[i] + 2;
	return total > indent ? total - 2 : total;
}

/* The shown column that goes next; -1: all others stay. */
static int next_to_drop(const struct print_table *table, const int *widths)
{
	int next = -1;

	for (size_t i = 0; i < table->column_count; i++)
		if (widths[i] >= 0 && table->columns[i].drop &&
		    (next < 0 || table->columns[i].drop < table->columns[next].drop))
			next = (int)i;
	return next;
}

/* Takes one character from the widest text. False: none can be cut further. */
static bool narrow(const struct print_table *table, int *widths)
{
	int widest = -1;

	for (size_t i = 0; i < table->column_count; i++)
		if (!table->columns[i].right && widths[i] > NARROWEST &&
		    (widest < 0 || widths[i] > widths[widest]))
			widest = (int)i;
	if (widest >= 0)
		widths[widest]--;
	return widest >= 0;
}

/* Makes the line fit. Adds the titles of the columns that it leaves out to `left_out`. */
static void fit(const struct print_table *table, int *widths, unsigned indent,
		unsigned most, char *left_out, size_t size)
{
	int drop;

	while (most && line_width(table, widths, indent) > most) {
		drop = next_to_drop(table, widths);
		if (drop < 0) {
			if (!narrow(table, widths))
				return;
			continue;
		}
		widths[drop] = -1;
		snprintf(left_out + strlen(left_out), size - strlen(left_out), "%s%s",
			 *left_out ? ", " : "", table->columns[drop].title);
	}
}

static bool is_last(const struct print_table *table, const int *widths, size_t column)
{
	while (++column < table->column_count)
		if (widths[column] >= 0)
			return false;
	return true;
}

/* Prints no blanks at the end of a line. */
static void write_cell(const struct print_table *table, FILE *out, size_t column,
		       const char *text, const int *widths)
{
	int width = widths[column], pad;
	bool last = is_last(table, widths, column);
	char cut[256];

	if (width < 0)
		return;
	if (text_width(text) > width)
		text = print_cut(cut, sizeof(cut), text, (unsigned)width);
	pad = width - text_width(text);
	if (table->columns[column].right)
		fprintf(out, "%*s%s", pad, "", text);
	else
		fprintf(out, "%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "" : "  ", out);
}

static void write_rows(const struct print_table *table, FILE *out, int indent,
		       const int *widths)
{
	for (size_t row = 0; row < table->cell_count; row += table->column_count) {
		fprintf(out, "%*s", indent, "");
		for (size_t i = 0; i < table->column_count; i++)
			write_cell(table, out, i, table->cells[row + i], widths);
		fputc('\n', out);
	}
}

void print_table_write(const struct print_table *table, FILE *out, int indent, bool color)
{
	int *widths = calloc(table->column_count, sizeof(*widths));
	char left_out[256] = "", note[288];

	if (!widths)
		return;
	for (size_t i = 0; i < table->column_count; i++)
		widths[i] = column_width(table, i);
	fit(table, widths, (unsigned)indent, print_width(out), left_out,
	    sizeof(left_out));
	fprintf(out, "%*s%s", indent, "", print_style(PRINT_DIM, color));
	for (size_t i = 0; i < table->column_count; i++)
		write_cell(table, out, i, table->columns[i].title, widths);
	fprintf(out, "%s\n", print_style(PRINT_PLAIN, color));
	write_rows(table, out, indent, widths);
	if (*left_out) {
		snprintf(note, sizeof(note), "No room for: %s", left_out);
		fprintf(out, "%*s", indent, "");
		print_wrapped(out, note, indent, INT_MAX);
	}
	free(widths);
}

void print_table_free(struct print_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}
