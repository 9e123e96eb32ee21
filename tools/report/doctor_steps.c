/* SPDX-License-Identifier: MIT
 *
 * The numbered steps of a cure as text. What is to be typed stands in lines of its own,
 * unbroken, so that it can be copied.
 */
#include <string.h>

#include "tools/advice/doctor.h"

#define WIDTH	90
#define INDENT	12
#define COMMAND 14

static bool has_typed(const struct doctor *doctor, const struct advice_finding *finding,
		      const char *typed)
{
	struct advice_step steps[ADVICE_STEPS];
	size_t count = doctor_steps(doctor, finding, steps);

	for (size_t i = 0; i < count; i++)
		if (strcmp(steps[i].typed, typed) == 0)
			return true;
	return false;
}

/* Whether a finding that is shown before has the same step. */
static bool is_shown(const struct doctor *doctor, const struct advice_finding *finding,
		     const struct advice_step *step)
{
	const struct advice_finding *before = doctor->advice.findings;

	for (; before < finding; before++)
		if (doctor_shows(doctor, before) &&
		    has_typed(doctor, before, step->typed))
			return true;
	return false;
}

static void print_lines(FILE *out, const char *text)
{
	for (size_t length; *text; text += length + (text[length] == '\n')) {
		length = strcspn(text, "\n");
		fprintf(out, "%*s%.*s\n", COMMAND, "", (int)length, text);
	}
}

static void print_step(FILE *out, const struct advice_step *step, unsigned number,
		       bool color)
{
	char text[sizeof(step->text) + 4], safe[2 * sizeof(step->typed)];

	snprintf(text, sizeof(text), "%s%s", step->text,
		 step->kind == STEP_NOTE ? "." : ":");
	fprintf(out, "%*u. ", INDENT - 2, number);
	print_wrapped(out, text, INDENT, WIDTH);
	if (!*step->typed)
		return;
	fputs(print_style(PRINT_BOLD, color), out);
	if (step->kind == STEP_CHANGE)
		print_lines(out, step->typed);
	else
		print_lines(out, print_escape(safe, sizeof(safe), step->typed));
	fputs(print_style(PRINT_PLAIN, color), out);
}

void doctor_print_steps(FILE *out, const struct doctor *doctor,
			const struct advice_finding *finding, bool color)
{
	struct advice_step steps[ADVICE_STEPS];
	size_t count = doctor_steps(doctor, finding, steps);
	unsigned number = 0;

	for (size_t i = 0; i < count; i++)
		if (!is_shown(doctor, finding, &steps[i]))
			print_step(out, &steps[i], ++number, color);
}
