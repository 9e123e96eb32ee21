/* SPDX-License-Identifier: MIT */
#include <errno.h>
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

/* Prints no blanks at the end of a line. */
static void write_cell(const struct print_table *table, FILE *out, size_t column,
		       const char *text, int width)
{
	int pad = width - text_width(text);
	bool last = column + 1 == table->column_count;

	if (width < 0)
		return;
	if (table->columns[column].right)
		fprintf(out, "%*s%s", pad, "", text);
	else
		fprintf(out, "%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "" : "  ", out);
}

void print_table_write(const struct print_table *table, FILE *out, int indent, bool color)
{
	int *widths = calloc(table->column_count, sizeof(*widths));

	if (!widths)
		return;
	fprintf(out, "%*s%s", indent, "", print_style(PRINT_DIM, color));
	for (size_t i = 0; i < table->column_count; i++) {
		widths[i] = column_width(table, i);
		write_cell(table, out, i, table->columns[i].title, widths[i]);
	}
	fprintf(out, "%s\n", print_style(PRINT_PLAIN, color));
	for (size_t row = 0; row < table->cell_count; row += table->column_count) {
		fprintf(out, "%*s", indent, "");
		for (size_t i = 0; i < table->column_count; i++)
			write_cell(table, out, i, table->cells[row + i], widths[i]);
		fputc('\n', out);
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
