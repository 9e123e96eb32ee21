/* SPDX-License-Identifier: MIT */
#include "tools/lab/result.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/json.h"
#include "tools/base/print.h"

#define CELL	300
#define COLUMNS 16
#define WIDTH	90

struct lab_table *lab_table_new(struct lab_result *result, const char *title,
				const struct lab_column *columns, size_t count)
{
	struct lab_table *table;

	if (result->table_count == LAB_TABLES)
		return &result->table[LAB_TABLES - 1];
	table = &result->table[result->table_count++];
	snprintf(table->title, sizeof(table->title), "%s", title);
	table->columns = columns;
	table->column_count = count < COLUMNS ? count : COLUMNS;
	table->rows = json_array();
	return table;
}

json_t *lab_row_new(struct lab_table *table, const char *name)
{
	json_t *row = json_object();

	json_object_set_new(row, table->columns[0].key, json_string(name));
	json_array_append_new(table->rows, row);
	return row;
}

void lab_put_count(json_t *row, const char *key, uint64_t value)
{
	json_object_set_new(row, key, json_integer((json_int_t)value));
}

void lab_put_real(json_t *row, const char *key, double value)
{
	json_object_set_new(row, key, json_real(value));
}

void lab_put_null(json_t *row, const char *key)
{
	json_object_set_new(row, key, json_null());
}

void lab_put_text(json_t *row, const char *key, const char *format, ...)
{
	char text[CELL];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	json_object_set_new(row, key, print_json_text(text));
}

void lab_say(struct lab_result *result, const char *format, ...)
{
	size_t length = strlen(result->verdict);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(result->verdict + length, sizeof(result->verdict) - length, format,
		  arguments);
	va_end(arguments);
}

bool lab_say_failure(struct lab_result *result, const struct lab_case *what)
{
	if (what->board && !*what->board->failure)
		return false;
	if (!result->failed)
		lab_say(result, "not all could be tried: \"%s%s%s\": %s. ",
			what->group ? what->group : "", what->group ? ", " : "",
			what->name, what->board ? what->board->failure : "not run");
	result->failed = true;
	return true;
}

/* --------------------------------------------------------------------- text */

static void format_cell(char *cell, const json_t *value, unsigned decimals)
{
	if (json_is_integer(value))
		print_number(cell, (uint64_t)json_integer_value(value));
	else if (json_is_real(value))
		snprintf(cell, CELL, "%.*f", (int)decimals, json_real_value(value));
	else if (json_is_string(value))
		print_escape(cell, CELL, json_string_value(value));
	else if (json_is_boolean(value))
		snprintf(cell, CELL, "%s", json_is_true(value) ? "yes" : "no");
	else
		snprintf(cell, CELL, "-");
}

/* Whether the column has nothing worth showing. */
static bool is_empty(const struct lab_table *table, const struct lab_column *column)
{
	json_t *row;
	size_t i;

	json_array_foreach(table->rows, i, row)
	{
		json_t *value = json_object_get(row, column->key);

		if (json_is_string(value) && *json_string_value(value))
			return false;
		if (json_is_number(value) && json_number_value(value) != 0)
			return false;
	}
	return true;
}

static bool is_text(const struct lab_table *table, const char *key)
{
	return json_is_string(json_object_get(json_array_get(table->rows, 0), key));
}

static size_t choose_columns(const struct lab_table *table, size_t ret_chosen[COLUMNS],
			     struct print_column ret_columns[COLUMNS])
{
	size_t count = 0;

	for (size_t i = 0; i < table->column_count; i++) {
		const struct lab_column *column = &table->columns[i];

		if (!column->title || (column->optional && is_empty(table, column)))
			continue;
		ret_chosen[count] = i;
		ret_columns[count++] = (struct print_column){
		    column->title, !is_text(table, column->key), false, 0};
	}
	return count;
}

static void write_table(const struct lab_table *table, FILE *out, bool color)
{
	struct print_column columns[COLUMNS];
	size_t chosen[COLUMNS], count = choose_columns(table, chosen, columns), r;
	struct print_table *printed = print_table_new(columns, count);
	char cells[COLUMNS][CELL];
	json_t *row;

	if (!printed || !json_array_size(table->rows)) {
		print_table_free(printed);
		return;
	}
	json_array_foreach(table->rows, r, row)
	{
		for (size_t i = 0; i < count; i++) {
			const struct lab_column *column = &table->columns[chosen[i]];

			format_cell(cells[i], json_object_get(row, column->key),
				    column->decimals);
		}
		print_table_add_array(printed, cells[0], CELL);
	}
	if (*table->title)
		fprintf(out, "  %s%s%s\n", print_style(PRINT_BOLD, color), table->title,
			print_style(PRINT_PLAIN, color));
	print_table_write(printed, out, 2, color);
	fputc('\n', out);
	print_table_free(printed);
}

void lab_result_write(const struct lab_result *result, FILE *out, bool color)
{
	fprintf(out, "%slab %s%s (%.1f s)\n\n", print_style(PRINT_BOLD, color),
		result->name, print_style(PRINT_PLAIN, color), result->seconds);
	for (size_t i = 0; i < result->table_count; i++)
		write_table(&result->table[i], out, color);
	fputs("  verdict: ", out);
	print_wrapped(out, result->verdict, 11, WIDTH);
}

/* --------------------------------------------------------------------- JSON */

json_t *lab_result_json(const struct lab_result *result)
{
	json_t *object = json_object(), *tables = json_array();

	json_object_set_new(object, "name", json_string(result->name));
	json_object_set_new(object, "verdict", json_string(result->verdict));
	json_object_set_new(object, "complete", json_boolean(!result->failed));
	json_object_set_new(object, "seconds", json_real(result->seconds));
	for (size_t i = 0; i < result->table_count; i++) {
		json_t *table = json_object();

		json_object_set_new(table, "title", json_string(result->table[i].title));
		json_object_set(table, "rows", result->table[i].rows);
		json_array_append_new(tables, table);
	}
	json_object_set_new(object, "tables", tables);
	return object;
}

void lab_result_free(struct lab_result *result)
{
	for (size_t i = 0; i < result->table_count; i++)
		json_decref(result->table[i].rows);
	result->table_count = 0;
}
