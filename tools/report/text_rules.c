/* SPDX-License-Identifier: MIT
 *
 * What the policy did, in the text report: what each rule promised, and what came of it.
 */
#include "tools/report/text_parts.h"

#include <stdio.h>
#include <string.h>

#define SENTENCE 1024
#define NAMED	 3 /* executables */

static const struct {
	enum tws_counter counter;
	const char *what;
} POLICY[] = {
    {TWS_policy_would_apply, "would have been applied (dry run)"},
    {TWS_policy_unsupported,
     "not supported by this kernel or socket (see twshim features)"},
    {TWS_policy_too_late, "already in TIME_WAIT when close() was called, because the "
			  "program had called shutdown()"},
    {TWS_policy_skipped_unsent, "closed normally because data was unsent"},
    {TWS_policy_skipped_shared, "left alone because another process may hold them"},
    {TWS_policy_skipped_app_option,
     "left alone because the program set the option, or bound the socket, itself"},
    {TWS_policy_skipped_rate, "left alone because of max_resets_per_second"},
    {TWS_policy_skipped_stopped, "left alone because stop_if had tripped"},
    {TWS_policy_skipped_busy, "not given a port of the ring"},
};

/* Appends the outcomes of the policy that happened, each after a comma, the first after
 * `before`. Returns whether there is one. */
static bool say_outcomes(const uint64_t *value, char *sentence, size_t size,
			 const char *before)
{
	size_t length = strlen(sentence);
	bool some = false;

	for (size_t i = 0; i < sizeof(POLICY) / sizeof(*POLICY); i++) {
		if (!value[POLICY[i].counter])
			continue;
		length += (size_t)snprintf(
		    sentence + length, size - length, "%s%s %s", some ? ", " : before,
		    REPORT_NUMBER(value[POLICY[i].counter]), POLICY[i].what);
		some = true;
	}
	return some;
}

static void write_note(const struct report_text *text, const char *sentence)
{
	fputs("  ", text->out);
	print_wrapped(text->out, sentence, 2, REPORT_WIDTH);
}

/* Appends "N what", after `before` or, if `some` reasons are there already, a comma. */
static void say_reason(char *sentence, size_t size, const char *before, bool *some,
		       uint64_t count, const char *what)
{
	size_t length = strlen(sentence);

	if (!count)
		return;
	snprintf(sentence + length, size - length, "%s%s %s", *some ? ", " : before,
		 REPORT_NUMBER(count), what);
	*some = true;
}

/* What was counted is what this rule did: there is no other, no process has ended long
 * ago, and nothing is older than the period. */
static bool is_of_one_rule(const struct model *model)
{
	return model->rule_count == 1 &&
	       model->rules[0].applied == model->total.value[TWS_policy_applied];
}

/* Says why a rule that matched did not help. */
static void say_reasons(const struct report_text *text, const struct model_rule *rule,
			char *sentence, size_t size)
{
	/* What was helped stands before them, or only "matched; ". */
	const char *before = sentence[strlen(sentence) - 1] == ' ' ? "" : ": ";
	bool some = is_of_one_rule(text->model) &&
		    say_outcomes(text->model->total.value, sentence, size, before);

	say_reason(sentence, size, before, &some, rule->failed, "failed to connect");
	say_reason(sentence, size, before, &some, rule->needless,
		   "left no TIME_WAIT anyway (closed first by the peer, or reset)");
	say_reason(sentence, size, before, &some, rule->killed,
		   "still open when the process was killed (resets and short_lived rules "
		   "act only in close(); close=fin-reset without short_lived is set at "
		   "connect and also helps killed processes)");
	say_reason(sentence, size, before, &some, rule->open, "still open");
}

/* Compares what a rule promised with what the kernel shows. */
static void say_rule(const struct report_text *text, const struct model_rule *rule,
		     char *sentence, size_t size)
{
	const uint64_t *value = text->model->total.value;
	char name[REPORT_NAME_SIZE * 2];

	snprintf(sentence, size, "Rule \"%s\": %s %s matched; ",
		 print_escape(name, sizeof(name), rule->name),
		 REPORT_NUMBER(rule->matched),
		 print_plural(rule->matched, "connection", "connections"));
	if (rule->applied || !value[TWS_policy_would_apply])
		snprintf(sentence + strlen(sentence), size - strlen(sentence),
			 "%s helped",
			 REPORT_NUMBER(rule->applied < rule->matched ? rule->applied
								     : rule->matched));
	say_reasons(text, rule, sentence, size);
	if (text->model->has_table && rule->closes)
		snprintf(sentence + strlen(sentence), size - strlen(sentence),
			 "; the kernel shows %s of them in TIME_WAIT",
			 rule->time_wait ? REPORT_NUMBER(rule->time_wait) : "none");
}

static void write_rules(const struct report_text *text)
{
	const struct model *model = text->model;
	char sentence[SENTENCE];

	for (uint32_t i = 0; i < model->rule_count; i++) {
		say_rule(text, &model->rules[i], sentence, sizeof(sentence));
		write_note(text, sentence);
	}
	strcpy(sentence, "Not helped:");
	if (!is_of_one_rule(model) &&
	    say_outcomes(model->total.value, sentence, sizeof(sentence), " "))
		write_note(text, sentence);
}

/* The executables that opened connections: "/usr/bin/php8.2 and 2 more". Returns the
 * first, which has the most. */
static const struct model_app *list_executables(const struct model *model, char *list,
						size_t size)
{
	const struct model_app *first = NULL, *app;
	char name[REPORT_PATH_SIZE];
	uint32_t count = 0;

	*list = '\0';
	for (uint32_t i = 0; i < model->order_count; i++) {
		app = report_text_app(model, i);
		if (report_text_is_empty(&app->counters))
			continue;
		first = first ? first : app;
		if (count++ < NAMED)
			snprintf(list + strlen(list), size - strlen(list), "%s%s",
				 count > 1 ? ", " : "",
				 print_escape(name, sizeof(name), app->exe));
	}
	if (count > NAMED)
		snprintf(list + strlen(list), size - strlen(list), " and %u more",
			 count - NAMED);
	return first;
}

static bool is_seen_from_outside(const struct model_app *app)
{
	return app->observed[TWS_OBSERVER_BPF] && !app->observed[TWS_OBSERVER_SHIM] &&
	       !app->observed[TWS_OBSERVER_SUPERVISOR];
}

/* The usual cause is a match.exe that names a symbolic link or a script. */
static void write_unchanged(const struct report_text *text)
{
	char sentence[SENTENCE], list[SENTENCE / 2], exe[REPORT_PATH_SIZE];
	char to[PRINT_ADDRESS_SIZE] = "ADDRESS:PORT";
	const struct model_app *first = list_executables(text->model, list, sizeof(list));

	if (!first)
		return;
	if (is_seen_from_outside(first)) {
		snprintf(
		    sentence, sizeof(sentence),
		    "The policy did not act: %s was observed from outside, where nothing "
		    "can be changed; while it runs, twshim doctor PID says why",
		    list);
		write_note(text, sentence);
		return;
	}
	if (first->destination_count)
		print_address(to, &first->destinations[first->order[0]].address);
	snprintf(
	    sentence, sizeof(sentence),
	    "No rule of the policy applied. The connections were opened by %s; twshim "
	    "policy explain --exe %s --to %s, with the same -c or -p, shows which rule "
	    "decides",
	    list, print_escape(exe, sizeof(exe), first->exe), to);
	write_note(text, sentence);
}

/* The arms of an experiment are no rules, and have a table of their own. */
void report_text_policy(const struct report_text *text)
{
	const struct model *model = text->model;
	uint64_t applied = model->total.value[TWS_policy_applied];
	char sentence[SENTENCE] = "The policy:";

	if (model->rule_count) {
		write_rules(text);
		return;
	}
	if (applied)
		snprintf(sentence, sizeof(sentence), "The policy: %s helped",
			 REPORT_NUMBER(applied));
	if (say_outcomes(model->total.value, sentence, sizeof(sentence),
			 applied ? ", " : " ") ||
	    applied)
		write_note(text, sentence);
	else if (text->options->run && text->options->run->policy)
		write_unchanged(text);
}
