/* SPDX-License-Identifier: MIT
 *
 * `twshim doctor` as text: the findings, most important first, each with its evidence,
 * its cure and how it is known; then one line that counts what is fine and what is
 * unknown.
 */
#include <limits.h>
#include <string.h>

#include "tools/advice/doctor.h"
#include "tools/report/sightings.h"

#define WIDTH	    90
#define INDENT	    9
#define WAYS_INDENT 21
#define REPEAT	    3 /* how often the same finding is shown in full */

static enum print_style style_of_verdict(enum advice_verdict verdict)
{
	switch (verdict) {
	case VERDICT_PROBLEM:
		return PRINT_RED;
	case VERDICT_WARNING:
		return PRINT_YELLOW;
	case VERDICT_OK:
		return PRINT_GREEN;
	default:
		return PRINT_BOLD;
	}
}

static const char *certainty_sentence(enum advice_certainty certainty)
{
	static const char *const sentences[] = {
	    [CERTAINTY_COUNTED] = "the shim counted each connection",
	    [CERTAINTY_READ] = "read from the kernel",
	    [CERTAINTY_INFERRED] = "inferred from what the kernel shows",
	};

	return sentences[certainty];
}

static const char *period_sentence(enum advice_period period)
{
	static const char *const sentences[] = {
	    [PERIOD_ALL] = "since the first connection",
	    [PERIOD_GOING] = "since the first connection, and still in the last minute",
	    [PERIOD_MINUTE] = "in the last minute",
	    [PERIOD_NOW] = "now",
	};

	return sentences[period];
}

static void print_paragraph(FILE *out, const char *text)
{
	fprintf(out, "%*s", INDENT, "");
	print_wrapped(out, text, INDENT, WIDTH);
}

static void print_one_finding(FILE *out, const struct doctor *doctor,
			      const struct advice_finding *finding, bool color)
{
	char text[ADVICE_TEXT_SIZE + 64];

	fprintf(out, "%s%-8s%s ", print_style(style_of_verdict(finding->verdict), color),
		advice_verdict_name(finding->verdict), print_style(PRINT_PLAIN, color));
	snprintf(text, sizeof(text), "%s %s%s%s%s%s%s", finding->id, finding->title,
		 *finding->app || *finding->to ? ":" : "", *finding->app ? " " : "",
		 finding->app, *finding->to ? " to " : "", finding->to);
	print_wrapped(out, text, INDENT, INT_MAX);
	snprintf(text, sizeof(text), "%s.", finding->evidence);
	print_paragraph(out, text);
	if (*finding->advice) {
		snprintf(text, sizeof(text), "-> %s.", finding->advice);
		print_paragraph(out, text);
	}
	doctor_print_steps(out, doctor, finding, color);
	if (finding->verdict > VERDICT_UNKNOWN) {
		snprintf(text, sizeof(text), "%s, %s",
			 certainty_sentence(finding->certainty),
			 period_sentence(finding->period));
		fputs(print_style(PRINT_DIM, color), out);
		print_paragraph(out, text);
		fputs(print_style(PRINT_PLAIN, color), out);
	}
	fputc('\n', out);
}

/* Counts equal findings, with the same verdict, before this one. */
static size_t count_before(const struct doctor *doctor, size_t index)
{
	const struct advice_finding *findings = doctor->advice.findings;
	size_t count = 0;

	for (size_t i = 0; i < index; i++)
		count += strcmp(findings[i].id, findings[index].id) == 0 &&
			 findings[i].verdict == findings[index].verdict;
	return count;
}

static bool is_in_full(const struct doctor *doctor, const struct advice_finding *finding)
{
	return doctor_shows(doctor, finding) &&
	       (finding->verdict != VERDICT_UNKNOWN || doctor->request.only ||
		doctor->request.all ||
		advice_explain(finding->id)->scope == ADVICE_SUBJECT);
}

static void print_findings(FILE *out, const struct doctor *doctor, bool color)
{
	const struct advice_finding *finding;
	size_t left = 0;

	for (size_t i = 0; i < doctor->advice.count; i++) {
		finding = &doctor->advice.findings[i];
		if (!is_in_full(doctor, finding))
			continue;
		if (count_before(doctor, i) < REPEAT || doctor->request.only)
			print_one_finding(out, doctor, finding, color);
		else
			left++;
	}
	if (left)
		fprintf(out,
			"%zu more %s of the same %s for other applications and "
			"destinations: --json shows all\n\n",
			left, print_plural(left, "finding", "findings"),
			print_plural(left, "kind", "kinds"));
}

static size_t count_verdict(const struct doctor *doctor, enum advice_verdict verdict)
{
	size_t count = 0;

	for (size_t i = 0; i < doctor->advice.count; i++)
		count += doctor->advice.findings[i].verdict == verdict;
	return count;
}

static void print_unknown(FILE *out, const struct doctor *doctor)
{
	const struct advice_finding *finding;
	char text[ADVICE_TEXT_SIZE + 32];

	if (!doctor->model->has_table && *doctor->model->table_error)
		fprintf(out, "not known: %s\n", doctor->model->table_error);
	for (size_t i = 0; i < doctor->advice.count; i++) {
		finding = &doctor->advice.findings[i];
		if (finding->verdict != VERDICT_UNKNOWN || is_in_full(doctor, finding))
			continue;
		snprintf(text, sizeof(text), "%s %s: %s", finding->id, finding->title,
			 finding->evidence);
		fprintf(out, "%-*s", INDENT, "unknown");
		print_wrapped(out, text, INDENT, WIDTH);
	}
}

static void print_elsewhere(FILE *out, const struct model *model)
{
	char number[PRINT_NUMBER_SIZE], text[256];

	if (!model->other_namespace)
		return;
	snprintf(text, sizeof(text),
		 "%s %s in another network namespace %s not judged here%s",
		 print_number(number, model->other_namespace),
		 print_plural(model->other_namespace, "process", "processes"),
		 print_plural(model->other_namespace, "is", "are"),
		 model->other_namespace_alive
		     ? ": twshim doctor PID judges one that still runs"
		     : "; none of them runs any more");
	print_wrapped(out, text, 0, WIDTH);
}

static void print_summary(FILE *out, const struct doctor *doctor)
{
	size_t ok = count_verdict(doctor, VERDICT_OK);
	char number[PRINT_NUMBER_SIZE], owned[PRINT_NUMBER_SIZE], text[256];

	snprintf(
	    text, sizeof(text),
	    "%zu %s fine, %zu %s unknown; %s TIME_WAIT %s, %s from known applications",
	    ok, print_plural(ok, "check is", "checks are"),
	    count_verdict(doctor, VERDICT_UNKNOWN),
	    print_plural(count_verdict(doctor, VERDICT_UNKNOWN), "is", "are"),
	    print_number(number, doctor->model->kernel.time_wait),
	    print_plural(doctor->model->kernel.time_wait, "socket", "sockets"),
	    print_number(owned, doctor->model->kernel.owned));
	print_wrapped(out, text, 0, INT_MAX);
}

/* Says that the finding that was asked for does not apply. */
static void print_absent(FILE *out, const struct doctor *doctor, bool color)
{
	const struct advice_explanation *about = advice_explain(doctor->request.only);

	for (size_t i = 0; i < doctor->advice.count; i++)
		if (doctor_shows(doctor, &doctor->advice.findings[i]))
			return;
	fprintf(out, "%s%-8s%s %s %s: does not apply to any of %u known %s\n",
		print_style(PRINT_GREEN, color), "ok", print_style(PRINT_PLAIN, color),
		about->id, about->title, doctor->model->order_count,
		print_plural(doctor->model->order_count, "application", "applications"));
}

static enum print_style style_of_worst(const struct doctor *doctor)
{
	enum advice_verdict worst = doctor_worst(doctor);

	return worst >= VERDICT_WARNING ? style_of_verdict(worst) : PRINT_GREEN;
}

void doctor_print_verdict(FILE *out, const struct doctor *doctor, bool color)
{
	char verdict[ADVICE_HEADLINE_SIZE], line[ADVICE_HEADLINE_SIZE + 2];

	snprintf(line, sizeof(line), "%s.",
		 doctor_verdict(doctor, verdict, sizeof(verdict)));
	fputs(print_style(style_of_worst(doctor), color), out);
	print_wrapped(out, line, 0, WIDTH);
	fputs(print_style(PRINT_PLAIN, color), out);
}

/* Which observers can see the command or the process. */
static void print_ways(FILE *out, const struct doctor *doctor)
{
	fputs("Who can see it:\n", out);
	for (unsigned i = 0; i < TWS_OBSERVERS; i++) {
		const struct way *way = &doctor->ways[i];

		fprintf(out, "  %-14s%-5s", ways_name(i), way->sees ? "yes" : "no");
		print_wrapped(out, way->how, WAYS_INDENT, WIDTH);
	}
	fputc('\n', out);
}

void doctor_print_text(FILE *out, const struct doctor *doctor)
{
	bool color = print_color_wanted(doctor->request.color, out);

	if (!doctor->request.only) {
		doctor_print_verdict(out, doctor, color);
		fputc('\n', out);
	}
	print_findings(out, doctor, color);
	if (doctor_has_ways(doctor) && !doctor->request.only)
		print_ways(out, doctor);
	if (doctor->request.seen)
		sightings_print_text(out, doctor->request.seen, &doctor->owners, color);
	if (doctor->request.only) {
		print_absent(out, doctor, color);
		return;
	}
	if (!doctor->request.subject) {
		print_unknown(out, doctor);
		print_summary(out, doctor);
	}
	print_elsewhere(out, doctor->model);
}
