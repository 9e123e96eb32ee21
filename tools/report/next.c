/* SPDX-License-Identifier: MIT
 *
 * The end of the text report: what to look at next, as commands that can be copied.
 */
#include <string.h>

#include "tools/advice/steps.h"
#include "tools/report/text_parts.h"

static void print_command(const struct report_text *text, const char *what,
			  const char *command)
{
	fprintf(text->out, "  %s:\n    %s\n", what, command);
}

static void print_experiment(const struct report_text *text, const char *rule)
{
	char line[ADVICE_RULE_SIZE + 1024];

	if (!strstr(rule, "close="))
		return;
	snprintf(line, sizeof(line), "twshim run --experiment '%s' -- %.900s", rule,
		 text->options->run->typed);
	print_command(text, "half with the rule and half without, compared", line);
}

/* The run again, under the first rule that a finding names. */
static void print_again(const struct report_text *text, const struct advice *advice)
{
	const struct report_run *run = text->options->run;
	char rule[ADVICE_RULE_SIZE], line[ADVICE_RULE_SIZE + 1024];

	if (!run || run->policy || !run->typed || !*run->typed)
		return;
	for (size_t i = 0; i < advice->count; i++)
		if (advice_rule_of(&advice->findings[i], rule, sizeof(rule))) {
			snprintf(line, sizeof(line), "twshim run -p '%s' -- %.900s", rule,
				 run->typed);
			print_command(text, "the same under the rule", line);
			print_experiment(text, rule);
			return;
		}
}

void report_text_next(const struct report_text *text, const struct advice *advice)
{
	fputs("\nNext:\n", text->out);
	print_again(text, advice);
	if (advice->count)
		print_command(text, "the cure of each finding, with the commands",
			      "twshim doctor");
	else if (text->options->run)
		print_command(text, "what is known of all programs", "twshim report");
	else
		print_command(text, "what is wrong on this host", "twshim doctor");
	if (text->model->kernel.unowned)
		print_command(text, "the programs behind the other TIME_WAIT sockets",
			      "twshim owners");
	else if (!text->options->run)
		print_command(text, "the live view", "twshim top");
}
