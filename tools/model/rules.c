/* SPDX-License-Identifier: MIT
 *
 * The results of the policy's rules, by name: how often each matched and was applied,
 * what the kernel shows of its connections, and whether its stop_if has tripped. Only
 * live processes count for the last, because a tripped stop_if matters only while the
 * process runs.
 */
#include <errno.h>
#include <netinet/tcp.h>
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

static void note_stop(struct model_rule *rule, const struct tws_rule_status *status)
{
	rule->processes++;
	rule->stopped += status->stopped != TWS_STOP_NONE;
	if (status->stopped)
		rule->stopped_why = status->stopped;
}

/* Whether the connection is in TIME_WAIT. The rule acted on how it closes, or was to. */
static void note_kernel(const struct model *model, struct model_rule *rule,
			const struct tws_ended *ended)
{
	const struct kernel_socket *socket;

	/* The shim counts late_bind at bind(), when no rule has the connection yet. */
	rule->applied += ended->flags & TWS_CONN_LATE_BIND &&
			 !(ended->flags & TWS_CONN_POLICY_COUNTED);
	if (!(ended->flags & (TWS_CONN_POLICY_LINGER2 | TWS_CONN_POLICY_RESET)))
		return;
	rule->closes = true;
	socket = kernel_table_find(&model->table, ended->cookie);
	rule->time_wait += socket && socket->state == TCP_TIME_WAIT;
}

static void note_endings(const struct model *model, const struct segment *segment,
			 struct model_rule *rule, uint32_t index)
{
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ENDED]; i++)
		if (segment->ended[i].rule == index + 1 &&
		    segment_ended_is_whole(segment, i))
			note_kernel(model, rule, &segment->ended[i]);
}

int model_note_rules(struct model *model, const struct segment *segment)
{
	const struct tws_rule_status *status;
	char name[TWS_NAME_SIZE];
	struct model_rule *rule;

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
		if (segment->life != PROCESS_DEAD)
			note_stop(rule, status);
		if (model->has_table)
			note_endings(model, segment, rule, i);
	}
	return 0;
}
