/* SPDX-License-Identifier: MIT
 *
 * The first sentence of the report: the numbers, or why there are none.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "tools/model/join.h"
#include "tools/report/text_parts.h"
#include "tools/segments/rundir.h"
#include "tools/segments/trouble.h"

#define SENTENCE_SIZE 1024
#define LONG_RUN_S    60 /* one that is shorter was now */

/* Appends to a sentence, which is cut if it gets too long. */
__attribute__((format(printf, 2, 3))) static void say(char *sentence, const char *format,
						      ...)
{
	size_t used = strlen(sentence);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sentence + used, SENTENCE_SIZE - used, format, arguments);
	va_end(arguments);
}

static void say_subject(const struct report_text *text, char *sentence)
{
	const struct model *model = text->model;
	char name[REPORT_NAME_SIZE];

	if (text->several) {
		say(sentence, "%u applications", report_text_busy(model));
		return;
	}
	say(sentence, "%s",
	    print_escape(name, sizeof(name), report_text_app(model, 0)->name));
	if (report_text_app(model, 0)->processes > 1)
		say(sentence, " (%s processes)",
		    REPORT_NUMBER(report_text_app(model, 0)->processes));
}

static const struct {
	enum tws_counter counter;
	const char *why;
} REASONS[] = {
    {TWS_failed_no_port, "no free port"},
    {TWS_failed_address_in_use, "address in use"},
    {TWS_failed_refused, "refused"},
    {TWS_failed_timed_out, "timed out"},
    {TWS_failed_unreachable, "unreachable"},
    {TWS_failed_other, "other errors"},
};

/* "no free port", or "40 no free port, 2 refused". */
static void say_reasons(const uint64_t *value, uint64_t failed, char *sentence)
{
	bool first = true;

	for (size_t i = 0; i < sizeof(REASONS) / sizeof(*REASONS); i++) {
		if (!value[REASONS[i].counter])
			continue;
		if (value[REASONS[i].counter] == failed)
			say(sentence, "%s", REASONS[i].why);
		else
			say(sentence, "%s%s %s", first ? "" : ", ",
			    REPORT_NUMBER(value[REASONS[i].counter]), REASONS[i].why);
		first = false;
	}
}

/* Which time the numbers cover. */
static void say_period(const struct report_text *text, char *sentence)
{
	const struct report_run *run = text->options->run;
	time_t began = report_since(text->model, run);
	bool of_run = run ? !run->watch : text->options->run_tag != NULL;
	char time[PRINT_TIME_SIZE];

	if (run)
		say(sentence, " in %s", REPORT_DURATION(run->elapsed_seconds));
	if (began && (!run || run->elapsed_seconds >= LONG_RUN_S))
		say(sentence, " since %s%s", report_text_when(time, text->model, began),
		    of_run ? " (run)" : "");
}

void report_text_left_out(const struct report_text *text)
{
	const struct model *model = text->model;
	char time[PRINT_TIME_SIZE], name[REPORT_NAME_SIZE], sentence[SENTENCE_SIZE] = "";
	time_t began = (time_t)(model->window.doubtful_since_ns / 1000000000u);

	if (model->window.older)
		say(sentence,
		    "%s older %s left out: --since all shows %s. PEAK%s of each "
		    "process's whole life. ",
		    REPORT_NUMBER(model->window.older),
		    print_plural(model->window.older, "connect is", "connects are"),
		    print_plural(model->window.older, "it", "them"),
		    model->rule_count ? " and the numbers of rules are" : " is");
	if (model->window.doubtful)
		say(sentence,
		    "These numbers are \"at most\": how many of %s connects of %s are "
		    "older is not known, and it has counted since %s.",
		    REPORT_NUMBER(model->window.doubtful),
		    print_escape(name, sizeof(name), model->window.doubtful_app),
		    report_text_when(time, model, began));
	if (!*sentence)
		return;
	fputs("  ", text->out);
	print_wrapped(text->out, sentence, 2, REPORT_WIDTH);
}

/* Nothing opened: the failures are the news. */
static void say_failed(const struct report_text *text, char *sentence)
{
	const uint64_t *value = text->model->total.value;
	uint64_t failed = join_failed(&text->model->total);

	if (failed == 1) {
		say(sentence, ": its one connect failed");
	} else if (failed) {
		say(sentence, ": all %s connects failed", REPORT_NUMBER(failed));
	} else {
		say(sentence, " opened no connection");
	}
	say_period(text, sentence);
	if (failed)
		say(sentence, ": ");
	say_reasons(value, failed, sentence);
}

static void say_opened(const struct report_text *text, char *sentence)
{
	const uint64_t *value = text->model->total.value;
	uint64_t failed = join_failed(&text->model->total);

	say(sentence, " opened %s %s", REPORT_NUMBER(value[TWS_established]),
	    print_plural(value[TWS_established], "connection", "connections"));
	say_period(text, sentence);
	if (value[TWS_short_lived])
		say(sentence, ", %s of them short-lived",
		    REPORT_NUMBER(value[TWS_short_lived]));
	if (!failed)
		return;
	say(sentence, " (%s more failed: ", REPORT_NUMBER(failed));
	say_reasons(value, failed, sentence);
	say(sentence, ")");
}

/* What never became a connection, and is neither open nor failed. */
static void say_others(const struct report_text *text, char *sentence)
{
	const uint64_t *value = text->model->total.value;
	uint64_t binds = value[TWS_bind_failed_in_use] + value[TWS_bind_failed_other];

	if (value[TWS_abandoned])
		say(sentence, "; %s %s given up unanswered",
		    REPORT_NUMBER(value[TWS_abandoned]),
		    print_plural(value[TWS_abandoned], "attempt was", "attempts were"));
	if (value[TWS_connecting])
		say(sentence, "; %s %s still unanswered",
		    REPORT_NUMBER(value[TWS_connecting]),
		    print_plural(value[TWS_connecting], "attempt is", "attempts are"));
	if (binds)
		say(sentence, "; %s bind() %s failed%s", REPORT_NUMBER(binds),
		    print_plural(binds, "call", "calls"),
		    value[TWS_bind_failed_in_use] == binds ? ": address in use" : "");
}

static void say_confirmed(const struct report_text *text, char *sentence)
{
	const struct model_time_wait *time_wait = &text->model->time_wait;

	if (!text->model->has_table)
		say(sentence, " (the kernel could not be read)");
	else if (time_wait->predicted > time_wait->pending)
		say(sentence, " (%s confirmed by the kernel)",
		    REPORT_NUMBER(time_wait->confirmed));
}

static void say_closed(const struct report_text *text, char *sentence)
{
	const uint64_t *value = text->model->total.value;
	uint64_t here = join_closed_first(&text->model->total);
	uint64_t treated = join_by_policy(&text->model->total);
	const struct model_time_wait *time_wait = &text->model->time_wait;
	uint64_t gone = time_wait->gone_early;
	uint64_t left = time_wait->predicted - gone - time_wait->pending;

	say(sentence, "; %s closed first on %s", text->several ? "they" : "it",
	    here ? REPORT_NUMBER(here) : "none");
	if (treated)
		say(sentence, " (%s by policy)", REPORT_NUMBER(treated));
	if (left)
		say(sentence, " and left %s TIME_WAIT %s", REPORT_NUMBER(left),
		    print_plural(left, "socket", "sockets"));
	else if (time_wait->pending)
		say(sentence, "; %s of these %s for the peer to close (FIN_WAIT)",
		    REPORT_NUMBER(time_wait->pending),
		    print_plural(time_wait->pending, "waits", "wait"));
	else if (gone)
		say(sentence, ", and none of these TIME_WAIT sockets remains");
	else if (value[TWS_ended_local_fin])
		say(sentence, ", none of them in the last minute");
	else
		say(sentence, " and left no TIME_WAIT socket");
	say_confirmed(text, sentence);
	say(sentence, ".");
}

void report_text_headline(const struct report_text *text)
{
	char sentence[SENTENCE_SIZE] = "";

	say_subject(text, sentence);
	if (text->model->total.value[TWS_established])
		say_opened(text, sentence);
	else
		say_failed(text, sentence);
	say_others(text, sentence);
	if (text->model->total.value[TWS_established])
		say_closed(text, sentence);
	else
		say(sentence, ".");
	fputs(print_style(PRINT_BOLD, text->color), text->out);
	print_wrapped(text->out, sentence, 0, REPORT_WIDTH);
	fputs(print_style(PRINT_PLAIN, text->color), text->out);
}

static void print_bypass(const struct report_text *text)
{
	char why[512], line[640];

	print_escape(why, sizeof(why), text->options->run->bypass);
	snprintf(line, sizeof(line), "No TCP connection was observed: %s.", why);
	print_wrapped(text->out, line, 0, REPORT_WIDTH);
}

void report_text_troubles(const struct report_text *text)
{
	struct place_trouble troubles[PLACE_TROUBLES];
	size_t count = text->options->dir ? 0 : place_troubles(troubles, PLACE_TROUBLES);

	for (size_t i = 0; i < count && i < PLACE_TROUBLES; i++)
		fprintf(text->out, "  %s: %s: %s\n", troubles[i].place, troubles[i].what,
			troubles[i].cure);
	if (count > PLACE_TROUBLES)
		fprintf(text->out, "  %zu more places are taken by other users\n",
			count - PLACE_TROUBLES);
}

/* Not after a run, which says so before it starts the command. */
static bool is_tmpfs_full(const struct report_text *text)
{
	const char *dir = text->options->dir;
	char found[4096];

	return !text->options->run &&
	       (dir || tws_rundir_find(found, sizeof(found)) == 0) &&
	       tws_rundir_check(dir ? dir : found) == -ENOSPC;
}

void report_text_nothing(const struct report_text *text)
{
	char time[PRINT_TIME_SIZE];

	if (is_tmpfs_full(text))
		fputs("The tmpfs of the run-time directory is full: programs that start "
		      "now are not counted.\n",
		      text->out);
	if (text->model->total.value[TWS_deepbind_loads])
		fputs("No TCP connection was observed. Either none was opened, or a "
		      "library bypassed the shim:\n",
		      text->out);
	else if (text->options->run && text->options->run->watch)
		fputs("No TCP connection was opened meanwhile.\n", text->out);
	else if (text->options->run && text->options->run->bypass)
		print_bypass(text);
	else if (text->options->run)
		fputs("No TCP connection was observed. Either the command opened none, "
		      "or the shim could not\nreach it; twshim doctor COMMAND says "
		      "which.\n",
		      text->out);
	else if (text->model->window.older)
		fprintf(text->out, "No TCP connection was opened since %s.\n",
			report_text_when(time, text->model,
					 (time_t)(text->model->window.since_realtime_ns /
						  1000000000u)));
	else if (text->options->app || text->options->pid)
		fputs("Nothing is known about this application. twshim report shows all "
		      "known ones.\n",
		      text->out);
	else
		fputs("Nothing is known yet. Start a program with twshim run -- COMMAND, "
		      "or see twshim env.\n",
		      text->out);
}
