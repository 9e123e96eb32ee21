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

#define SENTENCE_SIZE 1024

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

static void say_opened(const struct report_text *text, char *sentence)
{
	const uint64_t *value = text->model->total.value;
	uint64_t failed = join_failed(&text->model->total);

	say(sentence, " opened %s %s", REPORT_NUMBER(value[TWS_established]),
	    print_plural(value[TWS_established], "connection", "connections"));
	if (text->options->run)
		say(sentence, " in %s",
		    REPORT_DURATION(text->options->run->elapsed_seconds));
	if (value[TWS_short_lived])
		say(sentence, ", %s of them short-lived",
		    REPORT_NUMBER(value[TWS_short_lived]));
	if (failed)
		say(sentence, " (%s more failed)", REPORT_NUMBER(failed));
}

static void say_confirmed(const struct report_text *text, char *sentence)
{
	const struct model_time_wait *time_wait = &text->model->time_wait;

	if (!text->model->has_table)
		say(sentence, " (the kernel could not be read)");
	else if (time_wait->predicted)
		say(sentence, " (%s confirmed by the kernel)",
		    REPORT_NUMBER(time_wait->confirmed));
}

static void say_closed(const struct report_text *text, char *sentence)
{
	const uint64_t *value = text->model->total.value;
	uint64_t here = report_text_closed_first(&text->model->total);
	uint64_t treated = report_text_by_policy(&text->model->total);
	uint64_t gone = text->model->time_wait.gone_early;
	uint64_t left = text->model->time_wait.predicted - gone;

	say(sentence, "; %s closed first on %s", text->several ? "they" : "it",
	    here ? REPORT_NUMBER(here) : "none");
	if (treated)
		say(sentence, " (%s by policy)", REPORT_NUMBER(treated));
	if (left)
		say(sentence, " and left %s TIME_WAIT %s", REPORT_NUMBER(left),
		    print_plural(left, "socket", "sockets"));
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
	say_opened(text, sentence);
	say_closed(text, sentence);
	fputs(print_style(PRINT_BOLD, text->color), text->out);
	print_wrapped(text->out, sentence, 0, REPORT_WIDTH);
	fputs(print_style(PRINT_PLAIN, text->color), text->out);
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
	if (is_tmpfs_full(text))
		fputs("The tmpfs of the run-time directory is full: programs that start "
		      "now are not counted.\n",
		      text->out);
	if (text->model->total.value[TWS_deepbind_loads])
		fputs("No TCP connection was observed. Either none was opened, or a "
		      "library bypassed the shim:\n",
		      text->out);
	else if (text->options->run)
		fputs("No TCP connection was observed. Either the command opened none, "
		      "or the shim could not\nreach it; twshim doctor COMMAND says "
		      "which.\n",
		      text->out);
	else if (text->options->app || text->options->pid)
		fputs("Nothing is known about this application. twshim report shows all "
		      "known ones.\n",
		      text->out);
	else
		fputs("Nothing is known yet. Start a program with twshim run -- COMMAND, "
		      "or see twshim env.\n",
		      text->out);
}
