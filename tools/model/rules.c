/* SPDX-License-Identifier: MIT
 *
 * The results of the policy's rules, by name: how often each matched and was applied, and
 * whether its stop_if has tripped. Only live processes count, because a tripped stop_if
 * matters only while the process runs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"
#include "tools/model/model.h"

static struct model_rule *find_rule(struct model *model, const char *name)
{
	struct model_rule *grown;

	for (uint32_t i = 0; i < model->rule_count; i++)
		if (strcmp(model->rules[i].name, name) == 0)
			return &model->rules[i];
	grown = array_grow(model->rules, model->rule_count, sizeof(*grown));
	if (!grown)
		return NULL;
	model->rules = grown;
	grown = &model->rules[model->rule_count++];
	*grown = (struct model_rule){0};
	strcpy(grown->name, name);
	return grown;
}

int model_note_rules(struct model *model, const struct segment *segment)
{
	const struct tws_rule_status *status;
	char name[TWS_NAME_SIZE];
	struct model_rule *rule;

	if (segment->life == PROCESS_DEAD)
		return 0;
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_RULES]; i++) {
		status = &segment->rules[i];
		if (!*status->name ||
		    status->policy_generation != segment->header.policy_generation)
			continue;
		memcpy(name, status->name, sizeof(name));
		name[sizeof(name) - 1] = '\0';
		rule = find_rule(model, name);
		if (!rule)
			return -ENOMEM;
		rule->matched += status->matched;
		rule->applied += status->applied;
		rule->processes++;
		rule->stopped += status->stopped != TWS_STOP_NONE;
		if (status->stopped)
			rule->stopped_why = status->stopped;
	}
	return 0;
}
