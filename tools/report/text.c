/* SPDX-License-Identifier: MIT
 *
 * The report as text: one sentence with the numbers, a table with a row per destination,
 * at most three findings, and what is not known.
 */
#include "tools/report/text_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/advice/advice.h"
#include "tools/model/arms.h"
#include "tools/model/join.h"

#define ROWS	   12
#define ADVICE_MAX 3
#define SENTENCE   1024

/* -------------------------------------------------------------------- table */

enum column {
	COLUMN_APP,
	COLUMN_TO,
	COLUMN_OPENED,
	COLUMN_FAILED,
	COLUMN_OPEN,
	COLUMN_PEAK,
	COLUMN_FIRST,
	COLUMN_POLICY,
	COLUMN_PEER,
	COLUMN_RESET,
	COLUMN_UNSEEN,
	COLUMN_TIME_WAIT,
	COLUMN_LEAVE,
	COLUMN_PORTS,
	COLUMNS
};

static const struct print_column columns[COLUMNS] = {
    [COLUMN_APP] = {"APPLICATION", false, false, 0},
    [COLUMN_TO] = {"TO", false, false, 0},
    [COLUMN_OPENED] = {"OPENED", true, false, 8},
    [COLUMN_FAILED] = {"FAILED", true, true, 9},
    [COLUMN_OPEN] = {"OPEN", true, true, 5},
    [COLUMN_PEAK] = {"PEAK", true, false, 2},
    [COLUMN_FIRST] = {"WE CLOSED", true, false, 10},
    [COLUMN_PEER] = {"PEER CLOSED", true, false, 6},
    [COLUMN_POLICY] = {"BY POLICY", true, true, 7},
    [COLUMN_RESET] = {"RESET", true, true, 4},
    [COLUMN_UNSEEN] = {"UNSEEN", true, true, 1},
    [COLUMN_TIME_WAIT] = {"TIME_WAIT", true, false, 0},
    [COLUMN_LEAVE] = {"LEAVE IN", true, false, 3},
    [COLUMN_PORTS] = {"PORTS", true, false, 0},
};

/* Rounds down, as TW103 does, so that 100 % means that no port is left. */
static void format_port_fill(char *cell, size_t size, const struct model_ports *ports)
{
	if (!ports->range)
		snprintf(cell, size, "?");
	else if (ports->used * 20u < ports->range)
		snprintf(cell, size, "%.1f %%", 100.0 * ports->used / ports->range);
	else
		snprintf(cell, size, "%u %%", ports->used * 100u / ports->range);
}

static int add_destination_row(const struct report_text *text, struct print_table *table,
			       const struct model_app *app,
			       const struct model_destination *destination)
{
	const uint64_t *value = destination->counters.value;
	char cells[COLUMNS][REPORT_NAME_SIZE];

	print_escape(cells[COLUMN_APP], REPORT_NAME_SIZE, app->name);
	print_address(cells[COLUMN_TO], &destination->address);
	print_number(cells[COLUMN_OPENED], value[TWS_established]);
	print_number(cells[COLUMN_FAILED], join_failed(&destination->counters));
	print_number(cells[COLUMN_OPEN], value[TWS_open]);
	print_number(cells[COLUMN_PEAK], value[TWS_peak_open]);
	print_number(cells[COLUMN_FIRST], join_closed_first(&destination->counters));
	print_number(cells[COLUMN_POLICY], join_by_policy(&destination->counters));
	print_number(cells[COLUMN_PEER], value[TWS_ended_remote_fin]);
	print_number(cells[COLUMN_RESET], join_resets(&destination->counters));
	print_number(cells[COLUMN_UNSEEN], value[TWS_ended_unseen]);
	if (text->model->has_table)
		print_number(cells[COLUMN_TIME_WAIT], destination->time_wait.confirmed);
	else
		snprintf(cells[COLUMN_TIME_WAIT], REPORT_NAME_SIZE, "?");
	report_text_leave(cells[COLUMN_LEAVE], REPORT_NAME_SIZE,
			  destination->time_wait.oldest_leaves_ms,
			  destination->time_wait.newest_leaves_ms);
	format_port_fill(cells[COLUMN_PORTS], REPORT_NAME_SIZE, &destination->ports);
	return print_table_add_array(table, cells[text->several ? 0 : 1],
				     sizeof(cells[0]));
}

static int write_destinations(const struct report_text *text)
{
	unsigned first = text->several ? COLUMN_APP : COLUMN_TO;
	struct print_table *table = print_table_new(columns + first, COLUMNS - first);
	const struct model_destination *destination;
	const struct model_app *app;
	unsigned rows = 0, left = 0;
	int result = table ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < text->model->order_count; i++) {
		app = report_text_app(text->model, i);
		for (uint32_t d = 0; result == 0 && d < app->destination_count; d++) {
			destination = &app->destinations[app->order[d]];
			if (report_text_is_empty(&destination->counters))
				continue;
			if (rows == ROWS) {
				left++;
				continue;
			}
			rows++;
			result = add_destination_row(text, table, app, destination);
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

/* Shows the same finding for one destination only. */
static bool is_repeated(const struct advice *advice, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(advice->findings[i].id, advice->findings[index].id) == 0)
			return true;
	return false;
}

static void write_finding(const struct report_text *text,
			  const struct advice_finding *finding)
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
	print_wrapped(text->out, sentence, 9, REPORT_WIDTH);
}

static void write_advice(const struct report_text *text, const struct advice *advice)
{
	size_t said = 0;

	for (size_t i = 0; i < advice->count; i++) {
		if (said == ADVICE_MAX || is_repeated(advice, i))
			continue;
		if (said++ == 0)
			fputc('\n', text->out);
		write_finding(text, &advice->findings[i]);
	}
	if (advice->count > said)
		fprintf(text->out, "  +%zu more: twshim doctor\n", advice->count - said);
}

/* -------------------------------------------------------------------- notes */

/* Explains missing TIME_WAIT sockets. The kernel counts how many it did not create, but
 * not for which program. */
static void write_gone(const struct report_text *text)
{
	const struct model *model = text->model;
	uint64_t gone = model->time_wait.gone_early;
	char sentence[SENTENCE];

	if (!model->overflowed)
		snprintf(
		    sentence, sizeof(sentence),
		    "%s TIME_WAIT %s early: the peer reset the connection after our "
		    "close, the port was reused, or the program went to another network "
		    "namespace",
		    REPORT_NUMBER(gone),
		    print_plural(gone, "socket ended", "sockets ended"));
	else
		snprintf(sentence, sizeof(sentence),
			 "%s TIME_WAIT %s missing: tcp_max_tw_buckets, %s, was reached, "
			 "and the kernel did not create %s in this network namespace "
			 "(TCPTimeWaitOverflow); or the peer reset the connection after "
			 "our close, the port was reused, or the program went to another "
			 "network namespace",
			 REPORT_NUMBER(gone),
			 print_plural(gone, "socket is", "sockets are"),
			 REPORT_NUMBER(model->buckets), REPORT_NUMBER(model->overflowed));
	fputs("  ", text->out);
	print_wrapped(text->out, sentence, 2, REPORT_WIDTH);
}

static void write_host(const struct report_text *text)
{
	const struct model *model = text->model;
	char incoming[PRINT_NUMBER_SIZE + 16] = "", sentence[SENTENCE];

	if (model->kernel.incoming)
		snprintf(incoming, sizeof(incoming), "%s incoming, ",
			 REPORT_NUMBER(model->kernel.incoming));
	snprintf(sentence, sizeof(sentence),
		 "This host: %s TIME_WAIT %s, %s from known applications, %s%s from "
		 "others",
		 REPORT_NUMBER(model->kernel.time_wait),
		 print_plural(model->kernel.time_wait, "socket", "sockets"),
		 REPORT_NUMBER(model->kernel.owned), incoming,
		 REPORT_NUMBER(model->kernel.unowned));
	fputs("\n  ", text->out);
	print_wrapped(text->out, sentence, 2, REPORT_WIDTH);
}

static void write_kernel(const struct report_text *text)
{
	const struct model *model = text->model;

	if (!model->has_table && *model->table_error)
		fprintf(text->out, "\n  TIME_WAIT is not confirmed: %s\n",
			model->table_error);
	if (model->time_wait.pending)
		fprintf(
		    text->out,
		    "  %s %s closed only here: TIME_WAIT begins when the peer closes\n",
		    REPORT_NUMBER(model->time_wait.pending),
		    print_plural(model->time_wait.pending, "connection is",
				 "connections are"));
	if (model->time_wait.gone_early)
		write_gone(text);
	if (model->has_table && !text->options->run)
		write_host(text);
}

static void write_unknown(const struct report_text *text)
{
	const struct model *model = text->model;
	char name[REPORT_NAME_SIZE * 2];

	if (model->other_namespace)
		fprintf(
		    text->out,
		    "  %s %s in another network namespace, whose sockets are not in "
		    "this kernel table\n",
		    REPORT_NUMBER(model->other_namespace),
		    print_plural(model->other_namespace, "process is", "processes are"));
	if (model->listener_lost)
		fprintf(text->out,
			"  kernel messages about ended sockets were lost %s %s: some "
			"endings are unseen\n",
			REPORT_NUMBER(model->listener_lost),
			print_plural(model->listener_lost, "time", "times"));
	if (model->total.value[TWS_folded_unseen])
		fprintf(
		    text->out,
		    "  %s %s of killed processes %s added to the totals before a report "
		    "could ask the kernel how they ended: leave twshim serve running\n",
		    REPORT_NUMBER(model->total.value[TWS_folded_unseen]),
		    print_plural(model->total.value[TWS_folded_unseen], "connection",
				 "connections"),
		    model->total.value[TWS_folded_unseen] == 1 ? "was" : "were");
	if (model->total.value[TWS_policy_image_refused])
		fprintf(text->out,
			"  %s refused, being damaged or writable by another user; the "
			"connections were only observed: twshim policy show names the "
			"file\n",
			print_plural(model->total.value[TWS_policy_image_refused],
				     "a policy was", "policies were"));
	if (model->disputed)
		fprintf(text->out,
			"  %s %s claimed by processes of more than one user, so counted "
			"for none of them\n",
			REPORT_NUMBER(model->disputed),
			print_plural(model->disputed, "socket is", "sockets are"));
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
	uint32_t busy = report_text_busy(model);
	struct report_text text = {
	    .out = out,
	    .model = model,
	    .options = options,
	    .color = print_color_wanted(options->color, out),
	    .several = busy > 1,
	};
	struct advice advice = {0};
	int result = 0;

	if (busy) {
		report_text_headline(&text);
		result = write_destinations(&text);
		if (result == 0)
			result = arms_write(
			    out, model, options->run ? options->run->elapsed_seconds : 0,
			    text.color);
	} else {
		report_text_nothing(&text);
	}
	report_text_left_out(&text);
	if (result == 0 && busy)
		report_text_policy(&text);
	write_kernel(&text);
	if (result == 0)
		result = advice_of_model(&advice, model);
	if (result == 0)
		write_advice(&text, &advice);
	report_text_observed(&text);
	write_unknown(&text);
	report_text_troubles(&text);
	if (result == 0 && busy)
		report_text_next(&text, &advice);
	advice_free(&advice);
	return result;
}
