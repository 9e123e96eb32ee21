/* SPDX-License-Identifier: MIT
 *
 * Prints the comparison of an experiment's arms, as text and as JSON.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "tools/model/arms.h"
#include "tools/base/print.h"
#include "tools/report/text_parts.h"

#define CELL	    96
#define SENTENCE    512
#define MICROSECOND 1e-6

enum column {
	COLUMN_MEASURE,
	COLUMN_FIRST,
	COLUMN_THIS,
	COLUMN_DIFFERENCE,
	COLUMN_VERDICT,
	COLUMNS
};

/* ------------------------------------------------------------------ values */

static const char *const UNITS[] = {
    [ARMS_SHARE] = "per 1,000",
    [ARMS_BYTES] = "bytes",
    [ARMS_MICROSECONDS] = "seconds",
    [ARMS_PER_SECOND] = "per second",
};

/* Converts a value to its unit in JSON. */
static double scaled(enum arms_unit unit, double value)
{
	switch (unit) {
	case ARMS_SHARE:
		return value * 1000;
	case ARMS_MICROSECONDS:
		return value * MICROSECOND;
	default:
		return value;
	}
}

/* Converts a value to its unit in text: milliseconds, and per cent, which cannot be
 * mistaken for a number of connections. */
static double shown(enum arms_unit unit, double value)
{
	switch (unit) {
	case ARMS_SHARE:
		return value * 100;
	case ARMS_MICROSECONDS:
		return value / 1000;
	default:
		return value;
	}
}

static int decimals(double value)
{
	return fabs(value) < 0.995 ? 3 : fabs(value) < 99.95 ? 1 : 0;
}

static void format_value(char *cell, enum arms_unit unit, double value)
{
	static const char *const SUFFIX[] = {
	    [ARMS_SHARE] = " %",
	    [ARMS_BYTES] = " B",
	    [ARMS_MICROSECONDS] = " ms",
	    [ARMS_PER_SECOND] = " /s",
	};
	double number = shown(unit, value);

	snprintf(cell, CELL, "%.*f%s", number == 0 ? 0 : decimals(number), number,
		 SUFFIX[unit]);
}

static void format_difference(char *cell, const struct arms_line *line)
{
	const struct statistics_difference *it = &line->difference;
	double low = shown(line->unit, it->low), high = shown(line->unit, it->high);
	int places = decimals(high - low);

	if (it->verdict == STATISTICS_TOO_FEW)
		snprintf(cell, CELL, "-");
	else
		snprintf(cell, CELL, "%+.*f (%+.*f to %+.*f)", places,
			 shown(line->unit, it->difference), places, low, places, high);
}

static void format_verdict(char *cell, const struct arms_line *line)
{
	char number[PRINT_NUMBER_SIZE];

	if (line->difference.needed)
		snprintf(cell, CELL, "%s; need about %s more", arms_verdict(line),
			 print_number(number, line->difference.needed));
	else
		snprintf(cell, CELL, "%s", arms_verdict(line));
}

/* -------------------------------------------------------------------- text */

static void format_measure(char cells[COLUMNS][CELL], const struct arms_line *line)
{
	snprintf(cells[COLUMN_MEASURE], CELL, "%s", line->title);
	format_value(cells[COLUMN_FIRST], line->unit, line->difference.first);
	format_value(cells[COLUMN_THIS], line->unit, line->difference.other);
	format_difference(cells[COLUMN_DIFFERENCE], line);
	format_verdict(cells[COLUMN_VERDICT], line);
}

static int add_measure_row(struct print_table *table, const struct arms_line *line)
{
	char cells[COLUMNS][CELL];

	format_measure(cells, line);
	return print_table_add_array(table, cells[0], sizeof(cells[0]));
}

static int add_count_row(struct print_table *table, const char *title, uint64_t first,
			 uint64_t other)
{
	char here[PRINT_NUMBER_SIZE], there[PRINT_NUMBER_SIZE];
	const char *row[COLUMNS] = {title, print_number(here, first),
				    print_number(there, other), "", ""};

	return print_table_add(table, row);
}

static bool has_latency(const struct arms_comparison *comparison)
{
	for (unsigned i = 0; i < comparison->count; i++)
		if (strcmp(comparison->line[i].name, "connect_p50") == 0)
			return true;
	return false;
}

static int write_comparison(FILE *out, const struct model_arm *first,
			    const struct model_arm *other, unsigned compared,
			    double seconds, bool color)
{
	char here[TWS_NAME_SIZE * 4], there[TWS_NAME_SIZE * 4];
	struct arms_comparison comparison;
	char sentence[SENTENCE];
	struct print_column columns[COLUMNS] = {
	    [COLUMN_MEASURE] = {"MEASURE", false, false, 0},
	    [COLUMN_FIRST] = {print_escape(here, sizeof(here), first->name), true, false,
			      0},
	    [COLUMN_THIS] = {print_escape(there, sizeof(there), other->name), true, false,
			     0},
	    [COLUMN_DIFFERENCE] = {"DIFFERENCE (95 %)", true, false},
	    [COLUMN_VERDICT] = {"VERDICT", false, false, 0},
	};
	struct print_table *table = print_table_new(columns, COLUMNS);
	int result = table ? add_count_row(table, "connections",
					   first->counters.value[TWS_attempts],
					   other->counters.value[TWS_attempts])
			   : -ENOMEM;

	if (result == 0)
		result = add_count_row(table, "TIME_WAIT confirmed now", first->time_wait,
				       other->time_wait);

	arms_compare(first, other, compared, seconds, &comparison);
	for (unsigned i = 0; result == 0 && i < comparison.count; i++)
		result = add_measure_row(table, &comparison.line[i]);
	if (result == 0) {
		print_table_write(table, out, 2, color);
		arms_sentence(sentence, sizeof(sentence), first, other, &comparison);
		fputs("  ", out);
		print_wrapped(out, sentence, 2, REPORT_WIDTH);
	}
	if (result == 0 && !has_latency(&comparison))
		fputs(
		    "  The latency of connect() is measured only for blocking calls, and "
		    "there were none.\n",
		    out);
	print_table_free(table);
	return result;
}

int arms_write(FILE *out, const struct model *model, double seconds, bool color)
{
	const struct model_arm *first;
	char name[TWS_NAME_SIZE * 4];
	unsigned compared;
	int result = 0;

	for (uint32_t i = 0; result == 0 && i < model->arm_count; i++) {
		first = arms_first(model, i, &compared);
		if (first == &model->arms[i])
			continue;
		fprintf(out, "\n  experiment \"%s\":\n",
			print_escape(name, sizeof(name), first->experiment));
		result = write_comparison(out, first, &model->arms[i], compared, seconds,
					  color);
	}
	return result;
}

/* ---------------------------------------------------------------- Markdown */

/* A name may contain what Markdown takes for syntax. */
static void put_markdown(FILE *out, const char *name)
{
	char safe[TWS_NAME_SIZE * 4];

	for (const char *at = print_escape(safe, sizeof(safe), name); *at; at++) {
		if (strchr("\\`*_{}[]<>()#+!|~&", *at))
			fputc('\\', out);
		fputc(*at, out);
	}
}

static void write_markdown(FILE *out, const struct model_arm *first,
			   const struct model_arm *other, unsigned compared,
			   double seconds)
{
	char cells[COLUMNS][CELL], sentence[SENTENCE];
	struct arms_comparison comparison;

	arms_compare(first, other, compared, seconds, &comparison);
	arms_sentence(sentence, sizeof(sentence), first, other, &comparison);
	put_markdown(out, sentence);
	fputs("\n\n| measure | ", out);
	put_markdown(out, first->name);
	fputs(" | ", out);
	put_markdown(out, other->name);
	fputs(" | difference (95 %) | verdict |\n|---|---:|---:|---:|---|\n", out);
	for (unsigned i = 0; i < comparison.count; i++) {
		format_measure(cells, &comparison.line[i]);
		for (unsigned j = 0; j < COLUMNS; j++)
			fprintf(out, "| %s ", cells[j] + strspn(cells[j], " "));
		fputs("|\n", out);
	}
}

int arms_write_markdown(FILE *out, const struct model *model, double seconds)
{
	const struct model_arm *first;
	unsigned compared;

	if (!model->arm_count)
		fputs("No connection took part in an experiment.\n", out);
	for (uint32_t i = 0; i < model->arm_count; i++) {
		first = arms_first(model, i, &compared);
		if (first != &model->arms[i])
			write_markdown(out, first, &model->arms[i], compared, seconds);
	}
	return 0;
}

/* -------------------------------------------------------------------- JSON */

static json_t *scaled_json(const struct arms_line *line, double value)
{
	return json_real(scaled(line->unit, value));
}

static json_t *line_json(const struct arms_line *line)
{
	const struct statistics_difference *it = &line->difference;
	bool known = it->verdict != STATISTICS_TOO_FEW;

	return json_pack("{ss ss so so so so so ss sI}", "measure", line->name, "unit",
			 UNITS[line->unit], "first", scaled_json(line, it->first), "this",
			 scaled_json(line, it->other), "difference",
			 known ? scaled_json(line, it->difference) : json_null(), "low",
			 known ? scaled_json(line, it->low) : json_null(), "high",
			 known ? scaled_json(line, it->high) : json_null(), "verdict",
			 arms_verdict(line), "needed", (json_int_t)it->needed);
}

json_t *arms_json(const struct model *model, uint32_t arm, double seconds)
{
	json_t *array = json_array();
	struct arms_comparison comparison = {.count = 0};
	unsigned compared;
	const struct model_arm *first = arms_first(model, arm, &compared);

	if (first != &model->arms[arm])
		arms_compare(first, &model->arms[arm], compared, seconds, &comparison);
	for (unsigned i = 0; array && i < comparison.count; i++) {
		if (json_array_append_new(array, line_json(&comparison.line[i])) == 0)
			continue;
		json_decref(array);
		return NULL;
	}
	return array;
}
