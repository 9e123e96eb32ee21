/* SPDX-License-Identifier: MIT
 *
 * `twshim doctor` for a person: findings in order of importance, each with its evidence,
 * the cure and how sure it is; then one line of what is fine and what is not known.
 */
#include <string.h>

#include "tools/advice/doctor.h"

#define WIDTH  90
#define INDENT 9
#define REPEAT 3 /* times that one finding is told in full */

static enum print_style style_of(enum advice_verdict verdict)
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

static const char *sureness(enum advice_certainty certainty)
{
	static const char *const sentences[] = {
	    [CERTAINTY_COUNTED] = "counted by the shim, connection by connection",
	    [CERTAINTY_READ] = "read from the kernel",
	    [CERTAINTY_INFERRED] = "inferred from what the kernel shows",
	};

	return sentences[certainty];
}

static void print_paragraph(FILE *out, const char *text)
{
	fprintf(out, "%*s", INDENT, "");
	print_wrapped(out, text, INDENT, WIDTH);
}

static void print_finding(FILE *out, const struct advice_finding *finding, bool color)
{
	char text[ADVICE_TEXT_SIZE + 64];

	fprintf(out, "%s%-8s%s %s %s", print_style(style_of(finding->verdict), color),
		advice_verdict_name(finding->verdict), print_style(PRINT_PLAIN, color),
		finding->id, finding->title);
	if (*finding->app || *finding->to)
		fprintf(out, ":%s%s%s%s", *finding->app ? " " : "", finding->app,
			*finding->to ? " to " : "", finding->to);
	fputc('\n', out);
	snprintf(text, sizeof(text), "%s.", finding->evidence);
	print_paragraph(out, text);
	if (*finding->advice) {
		snprintf(text, sizeof(text), "-> %s.", finding->advice);
		print_paragraph(out, text);
	}
	if (finding->verdict > VERDICT_UNKNOWN)
		fprintf(out, "%*s%s%s%s\n", INDENT, "", print_style(PRINT_DIM, color),
			sureness(finding->certainty), print_style(PRINT_PLAIN, color));
	fputc('\n', out);
}

/* How often the same was found before this one. */
static size_t said_before(const struct doctor *doctor, size_t index)
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
		if (said_before(doctor, i) < REPEAT || doctor->request.only)
			print_finding(out, finding, color);
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

/* What is advised as -p 'close=...' is no whole command yet. */
static void print_where_rules_go(FILE *out, const struct doctor *doctor)
{
	const struct advice_finding *finding;

	for (size_t i = 0; i < doctor->advice.count; i++) {
		finding = &doctor->advice.findings[i];
		if (finding->verdict == VERDICT_OK || !is_in_full(doctor, finding) ||
		    !strstr(finding->advice, "-p '"))
			continue;
		print_wrapped(out,
			      "-p 'RULE' is of twshim run and env; where the shim is in "
			      "already, twshim policy load -p 'RULE' puts it in force "
			      "without a restart, in place of the policy before.",
			      0, WIDTH);
		fputc('\n', out);
		return;
	}
}

static void print_summary(FILE *out, const struct doctor *doctor, bool color)
{
	size_t ok = count_verdict(doctor, VERDICT_OK);
	char number[PRINT_NUMBER_SIZE], owned[PRINT_NUMBER_SIZE];

	if (doctor_worst(doctor) <= VERDICT_UNKNOWN)
		fprintf(out, "%sNothing is wrong%s: ", print_style(PRINT_GREEN, color),
			print_style(PRINT_PLAIN, color));
	fprintf(out,
		"%zu %s fine, %zu %s not known; %s TIME_WAIT %s, %s of known "
		"applications\n",
		ok, print_plural(ok, "thing is", "things are"),
		count_verdict(doctor, VERDICT_UNKNOWN),
		print_plural(count_verdict(doctor, VERDICT_UNKNOWN), "is", "are"),
		print_number(number, doctor->model->kernel.time_wait),
		print_plural(doctor->model->kernel.time_wait, "socket", "sockets"),
		print_number(owned, doctor->model->kernel.owned));
}

/* Of a finding that was asked for by name and of which there is no trace. */
static void print_absent(FILE *out, const struct doctor *doctor, bool color)
{
	const struct advice_explanation *about = advice_explain(doctor->request.only);

	for (size_t i = 0; i < doctor->advice.count; i++)
		if (doctor_shows(doctor, &doctor->advice.findings[i]))
			return;
	fprintf(out, "%s%-8s%s %s %s: not found in %u known %s\n",
		print_style(PRINT_GREEN, color), "ok", print_style(PRINT_PLAIN, color),
		about->id, about->title, doctor->model->order_count,
		print_plural(doctor->model->order_count, "application", "applications"));
}

void doctor_print_text(FILE *out, const struct doctor *doctor)
{
	bool color = print_color_wanted(doctor->request.color, out);

	print_findings(out, doctor, color);
	if (doctor->request.only) {
		print_absent(out, doctor, color);
		return;
	}
	print_where_rules_go(out, doctor);
	if (!doctor->request.subject) {
		print_unknown(out, doctor);
		print_summary(out, doctor, color);
	}
}
