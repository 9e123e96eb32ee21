/* SPDX-License-Identifier: MIT
 *
 * The report for a person: one sentence with the numbers, a table by destination, at most
 * three pieces of advice, and what is not known.
 */
#include "tools/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/advice.h"
#include "tools/join.h"
#include "tools/model.h"

#define ROWS	    12
#define ADVICE_MAX  3
#define WIDTH	    90
#define NAME_SIZE   64
#define SENTENCE    1024
#define NUMBER(n)   print_number((char[PRINT_NUMBER_SIZE]){0}, (n))
#define DURATION(s) print_duration((char[PRINT_NUMBER_SIZE]){0}, (s))

struct text {
	FILE *out;
	const struct model *model;
	const struct report_options *options;
	bool color;
	bool several; /* applications that have something to show */
};

/* ----------------------------------------------------------------- headline */

/* Appends to a sentence; what does not fit is cut. */
__attribute__((format(printf, 2, 3))) static void say(char *sentence, const char *format,
						      ...)
{
	size_t used = strlen(sentence);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sentence + used, SENTENCE - used, format, arguments);
	va_end(arguments);
}

static const struct model_app *app_at(const struct model *model, uint32_t rank)
{
	return &model->apps[model->order[rank]];
}

static bool is_empty(const struct tws_counters *counters)
{
	return !counters->value[TWS_attempts] && !counters->value[TWS_unobserved] &&
	       !counters->value[TWS_adopted];
}

static uint32_t count_busy(const struct model *model)
{
	uint32_t busy = 0;

	for (uint32_t i = 0; i < model->order_count; i++)
		busy += !is_empty(&app_at(model, i)->counters);
	return busy;
}

static void say_subject(const struct text *text, char *sentence)
{
	const struct model *model = text->model;
	char name[NAME_SIZE];

	if (text->several) {
		say(sentence, "%u applications", count_busy(model));
		return;
	}
	say(sentence, "%s", print_escape(name, sizeof(name), app_at(model, 0)->name));
	if (app_at(model, 0)->processes > 1)
		say(sentence, " (%s processes)", NUMBER(app_at(model, 0)->processes));
}

static void say_opened(const struct text *text, char *sentence)
{
	const uint64_t *value = text->model->total.value;
	uint64_t failed = join_failed(&text->model->total);

	say(sentence, " opened %s %s", NUMBER(value[TWS_established]),
	    print_plural(value[TWS_established], "connection", "connections"));
	if (text->options->run)
		say(sentence, " in %s", DURATION(text->options->run->elapsed_seconds));
	if (value[TWS_short_lived])
		say(sentence, ", %s of them short-lived", NUMBER(value[TWS_short_lived]));
	if (failed)
		say(sentence, " (%s more failed)", NUMBER(failed));
}

static void say_confirmed(const struct text *text, char *sentence)
{
	const struct model_time_wait *time_wait = &text->model->time_wait;

	if (!text->model->has_table)
		say(sentence, " (the kernel could not be asked)");
	else if (time_wait->predicted)
		say(sentence, " (%s confirmed by the kernel)",
		    NUMBER(time_wait->confirmed));
}

static void say_closed(const struct text *text, char *sentence)
{
	const uint64_t *value = text->model->total.value;
	uint64_t here = value[TWS_ended_local_fin];
	uint64_t left = text->model->time_wait.predicted;

	say(sentence, "; %s closed first on %s", text->several ? "they" : "it",
	    here ? NUMBER(here) : "none");
	if (left)
		say(sentence, " and left %s TIME_WAIT %s", NUMBER(left),
		    print_plural(left, "socket", "sockets"));
	else if (here)
		say(sentence, ", none of them in the last minute");
	else
		say(sentence, " and left no TIME_WAIT socket");
	say_confirmed(text, sentence);
	say(sentence, ".");
}

static void write_headline(const struct text *text)
{
	char sentence[SENTENCE] = "";

	say_subject(text, sentence);
	say_opened(text, sentence);
	say_closed(text, sentence);
	fputs(print_style(PRINT_BOLD, text->color), text->out);
	print_wrapped(text->out, sentence, 0, WIDTH);
	fputs(print_style(PRINT_PLAIN, text->color), text->out);
}

static void write_nothing(const struct text *text)
{
	if (text->options->run)
		fputs("No TCP connection was observed. Either the command opened none, "
		      "or the preload did not\nreach it; twshim doctor COMMAND says "
		      "which.\n",
		      text->out);
	else if (text->options->app || text->options->pid)
		fputs("Nothing is known of this application. twshim report shows all "
		      "that are known.\n",
		      text->out);
	else
		fputs("Nothing is known yet. Start a program with twshim run -- COMMAND, "
		      "or see twshim env.\n",
		      text->out);
}

/* -------------------------------------------------------------------- table */

enum column {
	COLUMN_APP,
	COLUMN_TO,
	COLUMN_OPENED,
	COLUMN_FAILED,
	COLUMN_OPEN,
	COLUMN_PEAK,
	COLUMN_FIRST,
	COLUMN_PEER,
	COLUMN_RESET,
	COLUMN_TIME_WAIT,
	COLUMN_LEAVE,
	COLUMN_PORTS,
	COLUMNS
};

static const struct print_column columns[COLUMNS] = {
    [COLUMN_APP] = {"APPLICATION", false}, [COLUMN_TO] = {"TO", false},
    [COLUMN_OPENED] = {"OPENED", true},	   [COLUMN_FAILED] = {"FAILED", true},
    [COLUMN_OPEN] = {"OPEN", true},	   [COLUMN_PEAK] = {"PEAK", true},
    [COLUMN_FIRST] = {"WE CLOSED", true},  [COLUMN_PEER] = {"PEER CLOSED", true},
    [COLUMN_RESET] = {"RESET", true},	   [COLUMN_TIME_WAIT] = {"TIME_WAIT", true},
    [COLUMN_LEAVE] = {"LEAVE IN", true},   [COLUMN_PORTS] = {"PORTS", true},
};

static uint64_t count_resets(const struct tws_counters *counters)
{
	return join_ended(counters) - counters->value[TWS_ended_local_fin] -
	       counters->value[TWS_ended_remote_fin] - counters->value[TWS_ended_unseen];
}

/* "12 s", "12-60 s", in whole seconds, rounded up. */
static void format_leave(char *cell, size_t size, const struct model_time_wait *time_wait)
{
	unsigned oldest = (time_wait->oldest_leaves_ms + 999) / 1000;
	unsigned newest = (time_wait->newest_leaves_ms + 999) / 1000;

	if (!time_wait->confirmed)
		snprintf(cell, size, "-");
	else if (oldest == newest)
		snprintf(cell, size, "%u s", newest);
	else
		snprintf(cell, size, "%u-%u s", oldest, newest);
}

static void format_ports(char *cell, size_t size, const struct model_ports *ports)
{
	if (!ports->range)
		snprintf(cell, size, "?");
	else
		snprintf(cell, size, "%.*f %%", ports->used * 20u < ports->range,
			 100.0 * ports->used / ports->range);
}

static int add_row(const struct text *text, struct print_table *table,
		   const struct model_app *app,
		   const struct model_destination *destination)
{
	const uint64_t *value = destination->counters.value;
	char cells[COLUMNS][NAME_SIZE];
	const char *row[COLUMNS];

	print_escape(cells[COLUMN_APP], NAME_SIZE, app->name);
	print_address(cells[COLUMN_TO], &destination->address);
	print_number(cells[COLUMN_OPENED], value[TWS_established]);
	print_number(cells[COLUMN_FAILED], join_failed(&destination->counters));
	print_number(cells[COLUMN_OPEN], value[TWS_open]);
	print_number(cells[COLUMN_PEAK], value[TWS_peak_open]);
	print_number(cells[COLUMN_FIRST], value[TWS_ended_local_fin]);
	print_number(cells[COLUMN_PEER], value[TWS_ended_remote_fin]);
	print_number(cells[COLUMN_RESET], count_resets(&destination->counters));
	if (text->model->has_table)
		print_number(cells[COLUMN_TIME_WAIT], destination->time_wait.confirmed);
	else
		snprintf(cells[COLUMN_TIME_WAIT], NAME_SIZE, "?");
	format_leave(cells[COLUMN_LEAVE], NAME_SIZE, &destination->time_wait);
	format_ports(cells[COLUMN_PORTS], NAME_SIZE, &destination->ports);
	for (unsigned i = 0; i < COLUMNS; i++)
		row[i] = cells[i];
	return print_table_add(table, text->several ? row : row + 1);
}

static int write_table(const struct text *text)
{
	unsigned first = text->several ? COLUMN_APP : COLUMN_TO;
	struct print_table *table = print_table_new(columns + first, COLUMNS - first);
	const struct model_destination *destination;
	const struct model_app *app;
	unsigned rows = 0, left = 0;
	int result = table ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < text->model->order_count; i++) {
		app = app_at(text->model, i);
		for (uint32_t d = 0; result == 0 && d < app->destination_count; d++) {
			destination = &app->destinations[app->order[d]];
			if (is_empty(&destination->counters))
				continue;
			if (rows == ROWS) {
				left++;
				continue;
			}
			rows++;
			result = add_row(text, table, app, destination);
		}
	}
	if (result == 0 && rows) {
		fputc('\n', text->out);
		print_table_write(table, text->out, 2, text->color);
	}
	if (left)
		fprintf(text->out, "  and %u more %s; --json shows all\n", left,
			print_plural(left, "destination", "destinations"));
	print_table_free(table);
	return result;
}

/* ------------------------------------------------------------------- advice */

static enum print_style verdict_style(enum advice_verdict verdict)
{
	switch (verdict) {
	case VERDICT_PROBLEM:
		return PRINT_RED;
	case VERDICT_WARNING:
		return PRINT_YELLOW;
	default:
		return PRINT_PLAIN;
	}
}

/* The same finding of another destination comes first only once. */
static bool said_before(const struct advice *advice, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(advice->findings[i].id, advice->findings[index].id) == 0)
			return true;
	return false;
}

static void write_finding(const struct text *text, const struct advice_finding *finding)
{
	enum print_style style = verdict_style(finding->verdict);
	char sentence[2 * ADVICE_TEXT_SIZE + 8];

	snprintf(sentence, sizeof(sentence), "%s: %s.", finding->evidence,
		 finding->advice);
	if (style != PRINT_PLAIN)
		fputs(print_style(style, text->color), text->out);
	fprintf(text->out, "  %s", finding->id);
	fputs(print_style(PRINT_PLAIN, text->color), text->out);
	fputs("  ", text->out);
	print_wrapped(text->out, sentence, 9, WIDTH);
}

static int write_advice(const struct text *text)
{
	struct advice advice;
	unsigned said = 0;
	int result = advice_of_model(&advice, text->model);

	for (size_t i = 0; result == 0 && i < advice.count && said < ADVICE_MAX; i++) {
		if (said_before(&advice, i))
			continue;
		if (said++ == 0)
			fputc('\n', text->out);
		write_finding(text, &advice.findings[i]);
	}
	advice_free(&advice);
	return result;
}

/* -------------------------------------------------------------------- notes */

static void write_kernel(const struct text *text)
{
	const struct model *model = text->model;

	if (!model->has_table && *model->table_error)
		fprintf(text->out, "\n  TIME_WAIT is not confirmed: %s\n",
			model->table_error);
	if (model->time_wait.pending)
		fprintf(
		    text->out,
		    "  %s more %s in FIN_WAIT: TIME_WAIT begins when the peer closes\n",
		    NUMBER(model->time_wait.pending),
		    print_plural(model->time_wait.pending, "is", "are"));
	if (model->time_wait.gone_early)
		fprintf(
		    text->out,
		    "  %s TIME_WAIT %s gone early: the peer reset after our close, or "
		    "the port was reused\n",
		    NUMBER(model->time_wait.gone_early),
		    print_plural(model->time_wait.gone_early, "socket is",
				 "sockets are"));
	if (model->has_table && !text->options->run)
		fprintf(text->out,
			"\n  This host: %s TIME_WAIT %s, %s of known applications, %s of "
			"others\n",
			NUMBER(model->kernel.time_wait),
			print_plural(model->kernel.time_wait, "socket", "sockets"),
			NUMBER(model->kernel.owned), NUMBER(model->kernel.unowned));
}

static void write_unknown(const struct text *text)
{
	const struct model *model = text->model;
	char name[NAME_SIZE * 2];

	if (model->other_namespace)
		fprintf(
		    text->out,
		    "  %s %s in another network namespace, whose sockets are not in "
		    "this kernel table\n",
		    NUMBER(model->other_namespace),
		    print_plural(model->other_namespace, "process is", "processes are"));
	if (model->listener_lost)
		fprintf(text->out,
			"  announcements of ended sockets were lost %s %s: some endings "
			"are unseen\n",
			NUMBER(model->listener_lost),
			print_plural(model->listener_lost, "time", "times"));
	for (size_t i = 0; i < model->skipped_count && i < ADVICE_MAX; i++)
		fprintf(text->out, "  skipped %s: %s\n",
			print_escape(name, sizeof(name), model->skipped[i].name),
			model->skipped[i].reason);
	if (model->skipped_count > ADVICE_MAX)
		fprintf(text->out, "  skipped %zu more files\n",
			model->skipped_count - ADVICE_MAX);
}

int report_print_text(FILE *out, const struct model *model,
		      const struct report_options *options)
{
	uint32_t busy = count_busy(model);
	struct text text = {
	    .out = out,
	    .model = model,
	    .options = options,
	    .color = print_color_wanted(options->color, out),
	    .several = busy > 1,
	};
	int result = 0;

	if (busy) {
		write_headline(&text);
		result = write_table(&text);
	} else {
		write_nothing(&text);
	}
	write_kernel(&text);
	if (result == 0 && busy)
		result = write_advice(&text);
	write_unknown(&text);
	return result;
}
