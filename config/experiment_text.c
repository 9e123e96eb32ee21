/* SPDX-License-Identifier: MIT */
#include "config/experiment_text.h"

#include "config/rule_text.h"

#define LINE 1

static void set_name(struct tws_draft *draft, struct tws_draft_part *part,
		     const char *name)
{
	const struct tws_setting *setting = &tws_setting_table[TWS_SETTING_name];
	const struct tws_value value = {.type = TWS_VALUE_TEXT, .text = name};

	if (!part->said[TWS_SETTING_name])
		tws_draft_set(draft, part, setting, &value, LINE);
}

/* A rule may have limits that an arm cannot have. */
static void refuse_limits(struct tws_draft *draft, const struct tws_draft_part *part)
{
	struct tws_problem problem = {0};

	for (unsigned i = 0; i < TWS_SETTING_COUNT; i++) {
		const struct tws_setting *setting = &tws_setting_table[i];

		if (!part->said[i] || setting->places & (TWS_IN_ARM | TWS_IN_MATCH))
			continue;
		tws_problem_what(&problem, "%s may not stand in an experiment",
				 setting->name);
		tws_problem_cure(&problem, "leave it out");
		tws_draft_complain(draft, LINE, &problem);
	}
}

static void refuse_second(struct tws_draft *draft)
{
	struct tws_problem problem = {0};

	tws_problem_what(&problem, "there are two experiments");
	tws_problem_cure(&problem, "leave out --experiment, or the one in the file");
	tws_draft_complain(draft, LINE, &problem);
}

void tws_experiment_text_read(struct tws_draft *draft, const char *text)
{
	struct tws_draft_part *rule = &draft->rules[draft->rule_count];
	unsigned count = draft->rule_count;

	if (draft->has_experiment) {
		refuse_second(draft);
		return;
	}
	tws_rule_text_read(draft, text, LINE);
	if (draft->rule_count == count)
		return;
	draft->rule_count = count;
	refuse_limits(draft, rule);
	draft->has_experiment = true;
	draft->arm_count = 2;
	tws_draft_begin(draft, &draft->experiment, LINE);
	tws_draft_begin(draft, &draft->arms[0], LINE);
	draft->arms[1] = *rule;
	draft->experiment.part.match = rule->part.match;
	draft->arms[1].part.weight = draft->arms[0].part.weight;
	set_name(draft, &draft->experiment, "run");
	set_name(draft, &draft->arms[0], "unchanged");
	set_name(draft, &draft->arms[1], "treated");
}
