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
#include "tools/model/join.h"
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

static void note_time_wait(struct model *model, struct model_rule *rule, uint64_t key)
{
	const struct kernel_socket *socket = kernel_table_find_key(&model->table, key);

	rule->closes = true;
	rule->time_wait += socket && socket->state == TCP_TIME_WAIT;
}

static bool is_needless(enum tws_ending ending)
{
	return ending == TWS_END_REMOTE_FIN || ending == TWS_END_RESET_UNREAD ||
	       ending == TWS_END_RESET_REMOTE;
}

/* A connection whose ending the process recorded. */
static void note_ended(struct model *model, struct model_rule *rule,
		       const struct tws_ended *ended)
{
	rule->needless += is_needless((enum tws_ending)ended->ending) &&
			  !(ended->flags & TWS_CONN_POLICY_COUNTED);
	if (ended->flags & (TWS_CONN_POLICY_LINGER2 | TWS_CONN_POLICY_RESET))
		note_time_wait(model, rule, join_ended_key(ended));
}

static void note_endings(struct model *model, const struct segment *segment,
			 struct model_rule *rule, uint32_t index)
{
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ENDED]; i++)
		if (segment->ended[i].rule == index + 1 &&
		    segment_ended_is_whole(segment, i))
			note_ended(model, rule, &segment->ended[i]);
}

/* A connection that is open, or whose process was killed. */
static void note_open(struct model *model, struct model_rule *rule,
		      const struct tws_connection *slot,
		      const struct join_verdict *verdict)
{
	if (!verdict->ended)
		rule->open++;
	else if (verdict->policy != TWS_COUNTERS)
		rule->applied += verdict->policy == TWS_policy_applied;
	else if (is_needless(verdict->ending))
		rule->needless += !(slot->flags & TWS_CONN_POLICY_COUNTED);
	else if (verdict->ending == TWS_END_LOCAL_FIN && verdict->via == TWS_VIA_KILL &&
		 !(slot->flags & TWS_CONN_POLICY_COUNTED)) {
		rule->killed++;
		note_time_wait(model, rule, tws_socket_key(slot));
	}
}

static void note_slots(struct model *model, struct segment *segment,
		       struct model_rule *rule, uint32_t index)
{
	struct join_verdict verdict;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_CONNECTIONS]; i++)
		if (segment->connections[i].rule == index + 1 &&
		    model_judge(model, segment, i, &verdict))
			note_open(model, rule, &segment->connections[i], &verdict);
}

int model_note_rules(struct model *model, struct segment *segment)
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
		rule->failed += status->failed;
		if (segment->life != PROCESS_DEAD)
			note_stop(rule, status);
		if (model->has_table) {
			note_endings(model, segment, rule, i);
			note_slots(model, segment, rule, i);
		}
	}
	return 0;
}
