/* SPDX-License-Identifier: MIT
 *
 * Rows as lines of text, with columns from a table (the rightmost are dropped on a narrow
 * terminal), and as JSON.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "tools/base/json.h"
#include "tools/base/print.h"
#include "tools/segments/names.h"
#include "tools/top/top.h"

#define CELL	  96
#define BAR	  5
#define APP_WIDTH 16

#define IN(mode) (1u << (mode))
#define IN_ALL	 (IN(TOP_APPS) | IN(TOP_PROCESSES) | IN(TOP_DESTINATIONS))

typedef void (*cell_writer)(char *cell, const struct top_row *row, bool ascii);

/* Counts characters: the bytes of UTF-8 text that begin one. */
static int columns_of(const char *text)
{
	int count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static void cell_pid(char *cell, const struct top_row *row, bool ascii)
{
	snprintf(cell, CELL, "%ld%s", row->pid, row->dead ? "-" : "");
}

/* The rate shows "exited" as well, so the mark is left out if the name or the mark would
 * be cut. */
static void cell_app(char *cell, const struct top_row *row, bool ascii)
{
	static const char mark[] = " (gone)";
	bool marked = row->dead && !row->pid &&
		      columns_of(row->app) + sizeof(mark) - 1 <= APP_WIDTH;

	snprintf(cell, CELL, "%s%s", row->app, marked ? mark : "");
}

static void cell_to(char *cell, const struct top_row *row, bool ascii)
{
	snprintf(cell, CELL, "%s", row->to);
}

static void cell_rate(char *cell, const struct top_row *row, bool ascii)
{
	if (row->dead)
		snprintf(cell, CELL, "exited");
	else if (row->rate < 0)
		snprintf(cell, CELL, "-");
	else
		snprintf(cell, CELL, row->rate < 10 ? "%.1f" : "%.0f", row->rate);
}

static void cell_open(char *cell, const struct top_row *row, bool ascii)
{
	print_number(cell, row->open);
}

static void cell_opened(char *cell, const struct top_row *row, bool ascii)
{
	print_number(cell, row->opened);
}

static void print_share(char *cell, uint64_t part, uint64_t whole)
{
	if (whole)
		snprintf(cell, CELL, "%.0f%%", 100.0 * (double)part / (double)whole);
	else
		snprintf(cell, CELL, "-");
}

static void cell_short(char *cell, const struct top_row *row, bool ascii)
{
	print_share(cell, row->short_lived, row->ended);
}

static void cell_first(char *cell, const struct top_row *row, bool ascii)
{
	print_share(cell, row->closed_first, row->ended);
}

static void cell_peer(char *cell, const struct top_row *row, bool ascii)
{
	print_share(cell, row->remote_fin, row->ended);
}

static void cell_reset(char *cell, const struct top_row *row, bool ascii)
{
	print_share(cell, row->resets, row->ended);
}

static void cell_failed(char *cell, const struct top_row *row, bool ascii)
{
	print_number(cell, row->failed);
}

static void cell_time_wait(char *cell, const struct top_row *row, bool ascii)
{
	print_number(cell, row->time_wait);
}

static void cell_ports(char *cell, const struct top_row *row, bool ascii)
{
	double fill = row->ports_range ? (double)row->ports_used / row->ports_range : 0;
	unsigned whole = row->ports_range ? row->ports_used * 100u / row->ports_range : 0;
	int full = (int)lround(fill * BAR);
	char bar[BAR + 1];

	for (int i = 0; i < BAR; i++)
		bar[i] = i < full ? '#' : '.';
	bar[BAR] = '\0';
	snprintf(cell, CELL, "%s %3u%%", bar, whole);
}

/* Each character stands for the highest rate within several seconds. */
static void cell_spark(char *cell, const struct top_row *row, bool ascii)
{
	static const char *const wide[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const plain[] = {" ", ".", ".", ":", ":", "-", "=", "#", "#"};
	const int each = TOP_HISTORY / TOP_SPARK;
	float most[TOP_SPARK] = {0}, highest = 0;

	for (int i = 0; i < TOP_HISTORY; i++)
		if (row->history[i] > most[i / each])
			most[i / each] = row->history[i];
	for (int i = 0; i < TOP_SPARK; i++)
		highest = most[i] > highest ? most[i] : highest;
	*cell = '\0';
	for (int i = 0; i < TOP_SPARK; i++)
		strcat(cell,
		       (ascii
			    ? plain
			    : wide)[highest > 0 ? (int)ceilf(8 * most[i] / highest) : 0]);
}

static const struct {
	const char *title;
	unsigned modes;
	int width; /* negative: aligned left */
	cell_writer write;
} columns[] = {
    {"PID", IN(TOP_PROCESSES), 8, cell_pid},
    {"APPLICATION", IN_ALL, -APP_WIDTH, cell_app},
    {"TO", IN(TOP_DESTINATIONS), -21, cell_to},
    {"TIME_WAIT", IN_ALL, 9, cell_time_wait},
    {"/S", IN_ALL, 6, cell_rate},
    {"PORTS", IN(TOP_APPS) | IN(TOP_DESTINATIONS), -BAR - 5, cell_ports},
    {"OPEN", IN_ALL, 5, cell_open},
    {"SHORT", IN_ALL, 5, cell_short},
    {"FIRST", IN_ALL, 5, cell_first},
    {"LAST MINUTE", IN_ALL, -TOP_SPARK, cell_spark},
    {"OPENED", IN_ALL, 10, cell_opened},
    {"PEER", IN_ALL, 5, cell_peer},
    {"RESET", IN_ALL, 5, cell_reset},
    {"FAILED", IN_ALL, 6, cell_failed},
};

/* The text is cut in its middle if it is wider than the column. */
static void append_cell(char *buffer, const char *cell, int width)
{
	int wanted = width < 0 ? -width : width, has;
	char cut[TOP_LINE_SIZE];
	size_t length = strlen(buffer), size;

	print_cut(cut, sizeof(cut), cell, (unsigned)wanted);
	has = columns_of(cut);
	size = strlen(cut);
	if (length + size + (size_t)wanted + 2 > TOP_LINE_SIZE)
		return;
	sprintf(buffer + length, "%*s%s%*s ", width > 0 ? wanted - has : 0, "", cut,
		width < 0 ? wanted - has : 0, "");
}

static bool fits(int *used, int width, int column)
{
	*used += (column < 0 ? -column : column) + 1;
	return *used <= width + 1;
}

const char *top_titles(char *buffer, const struct top_view *view, int width)
{
	int used = 0;

	*buffer = '\0';
	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++)
		if (columns[i].modes & IN(view->mode) &&
		    fits(&used, width, columns[i].width))
			append_cell(buffer, columns[i].title, columns[i].width);
	return buffer;
}

const char *top_line(char *buffer, const struct top_row *row, const struct top_view *view,
		     int width, bool ascii)
{
	char cell[CELL];
	int used = 0;

	*buffer = '\0';
	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
		if (!(columns[i].modes & IN(view->mode)) ||
		    !fits(&used, width, columns[i].width))
			continue;
		columns[i].write(cell, row, ascii);
		append_cell(buffer, cell, columns[i].width);
	}
	return buffer;
}

const char *top_detail(char *buffer, const struct top_row *row, unsigned line, int width)
{
	char number[PRINT_NUMBER_SIZE], cell[CELL * 4];

	*buffer = '\0';
	if (line == 0) {
		append_cell(buffer, row->exe, -width);
		return buffer;
	}
	for (unsigned i = 0; i < TWS_COUNTERS; i++) {
		if (!row->counters->value[i] || --line)
			continue;
		snprintf(cell, sizeof(cell), "%-22s %10s  %s", counter_texts[i].name,
			 print_number(number, row->counters->value[i]),
			 counter_texts[i].help);
		append_cell(buffer, cell, -width);
		return buffer;
	}
	return NULL;
}

/* " since 09:12:00", with the date if that is another one. */
static void print_since(char *text, size_t size, const struct top *top)
{
	bool today = strncmp(top->since, top->time, 10) == 0;

	*text = '\0';
	if (*top->since)
		snprintf(text, size, " since %.*s%s", today ? 8 : 16,
			 top->since + (today ? 11 : 0),
			 top->perhaps_older ? " at most" : "");
}

const char *top_summary(char *buffer, const struct top *top)
{
	char since[64], a[PRINT_NUMBER_SIZE], b[PRINT_NUMBER_SIZE], c[PRINT_NUMBER_SIZE];
	char d[PRINT_NUMBER_SIZE];

	print_since(since, sizeof(since), top);
	if (*top->error)
		snprintf(buffer, TOP_LINE_SIZE, "twshim %.8s UTC  %s", top->time + 11,
			 top->error);
	else
		snprintf(buffer, TOP_LINE_SIZE,
			 "twshim %.8s UTC  TIME_WAIT %s, %s owned  open %s  opened %s%s",
			 top->time + 11, print_number(a, top->time_wait),
			 print_number(b, top->owned), print_number(c, top->open),
			 print_number(d, top->opened), since);
	return buffer;
}

/* ------------------------------------------------------------------------- JSON */

static json_t *row_object(const struct top_row *row, bool has_table)
{
	return json_pack(
	    "{s:s, s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
	    "s:o, s:o}",
	    "app", row->app, "exe", row->exe, "pid",
	    row->pid ? json_integer(row->pid) : json_null(), "to",
	    *row->to ? json_string(row->to) : json_null(), "exited", row->dead, "rate",
	    row->rate < 0 ? json_null() : json_real(row->rate), "open",
	    json_count(row->open), "opened", json_count(row->opened), "ended",
	    json_count(row->ended), "short_lived", json_count(row->short_lived),
	    "ended_local_fin", json_count(row->local_fin), "closed_first",
	    json_count(row->closed_first), "ended_remote_fin",
	    json_count(row->remote_fin), "ended_reset", json_count(row->resets), "failed",
	    json_count(row->failed), "time_wait",
	    has_table ? json_count(row->time_wait) : json_null(), "port_fill",
	    row->ports_range ? json_real((double)row->ports_used / row->ports_range)
			     : json_null());
}

int top_print_json(FILE *out, const struct top *top, const struct top_view *view)
{
	json_t *rows = json_array(), *object;

	for (size_t i = 0; i < top->count; i++)
		json_array_append_new(rows, row_object(&top->rows[i], top->has_table));
	object = json_pack(
	    "{s:s, s:s, s:o, s:s, s:o, s:o, s:s, s:o, s:o}", "schema", "twshim.top/1",
	    "generated", top->time, "since",
	    *top->since ? json_string(top->since) : json_null(), "until", top->time,
	    "older_left_out", json_count(top->older), "perhaps_older",
	    json_count(top->perhaps_older), "by", top_mode_names[view->mode], "time_wait",
	    top->has_table ? json_count(top->time_wait) : json_null(), "rows", rows);
	return print_json(out, object, JSON_COMPACT | JSON_REAL_PRECISION(10));
}
