/* SPDX-License-Identifier: MIT
 *
 * How the rules and arms of a policy fared in a process that an observer's policy acts
 * on: counted as the shim counts it.
 */
#include <stdio.h>

#include "shim/shared/ending.h"
#include "tools/observe/publish_parts.h"

void publish_set_policy(struct publisher *publisher, const struct tws_policy_image *image,
			uint64_t key)
{
	publisher->policy = image;
	publisher->policy_key = key;
}

static void copy_policy_name(char *to, const struct tws_policy_image *image,
			     uint32_t offset)
{
	snprintf(to, TWS_NAME_SIZE, "%s", (const char *)tws_policy_at(image, offset));
}

static struct tws_rule_status *rule_status(const struct open_connection *open)
{
	struct published *published = open->published;
	const struct publisher *publisher = published->publisher;
	const struct tws_policy_image *image = publisher->policy;
	const struct tws_rule *rules;
	struct tws_rule_status *status;
	uint32_t index = open->rule - 1u;

	if (!open->rule || !image ||
	    !publish_file_reach(&published->file, TWS_SECTION_RULES, index))
		return NULL;
	status = publish_file_at(&published->file, TWS_SECTION_RULES, index);
	if (status->policy_generation == publisher->policy_key)
		return status;
	rules = tws_policy_at(image, image->rules.offset);
	copy_policy_name(status->name, image, rules[index].name);
	__atomic_store_n(&status->policy_generation, publisher->policy_key,
			 __ATOMIC_RELEASE);
	__atomic_store_n(&published->file.header->policy_generation,
			 publisher->policy_key, __ATOMIC_RELEASE);
	return status;
}

struct tws_counters *publish_arm_counters(const struct open_connection *open)
{
	struct published *published = open->published;
	const struct publisher *publisher = published->publisher;
	const struct tws_policy_image *image = publisher->policy;
	const struct tws_policy_arm *arms;
	struct tws_arm *entry;
	uint32_t index = open->arm - 1u;

	if (!open->arm || !image ||
	    !publish_file_reach(&published->file, TWS_SECTION_ARMS, index))
		return NULL;
	entry = publish_file_at(&published->file, TWS_SECTION_ARMS, index);
	if (entry->state == TWS_DESTINATION_READY)
		return &entry->counters;
	arms = tws_policy_at(image, image->experiment.arms.offset);
	copy_policy_name(entry->experiment, image, image->experiment.name);
	copy_policy_name(entry->name, image, arms[index].name);
	entry->weight = arms[index].weight;
	entry->policy_generation = publisher->policy_key;
	__atomic_store_n(&published->file.header->policy_generation,
			 publisher->policy_key, __ATOMIC_RELEASE);
	__atomic_store_n(&entry->state, TWS_DESTINATION_READY, __ATOMIC_RELEASE);
	return &entry->counters;
}

static void add_one(uint64_t *value)
{
	__atomic_store_n(value, *value + 1, __ATOMIC_RELEASE);
}

static void count_applied(struct open_connection *open)
{
	struct tws_rule_status *status = rule_status(open);

	if (open->flags & TWS_CONN_POLICY_COUNTED)
		return;
	open->flags |= TWS_CONN_POLICY_COUNTED;
	publish_count(open, TWS_policy_applied, 1);
	if (status)
		add_one(&status->applied);
}

void publish_decide(struct open_connection *open, const struct publish_decision *decision)
{
	struct tws_rule_status *status = rule_status(open);

	if (status && decision->matched)
		add_one(&status->matched);
	if (decision->unsupported)
		publish_count(open, TWS_policy_unsupported, 1);
	if (decision->kept_app_option)
		publish_count(open, TWS_policy_skipped_app_option, 1);
	if (decision->would_apply)
		publish_count(open, TWS_policy_would_apply, 1);
	if (decision->applied)
		count_applied(open);
}

/* What TCP_LINGER2 = -1 achieved is known only now. */
void publish_policy_ended(struct open_connection *open, enum tws_ending ending)
{
	enum tws_counter outcome = tws_ending_fin_reset_outcome(ending, open->flags);
	struct tws_rule_status *status = rule_status(open);

	if (outcome == TWS_policy_applied)
		count_applied(open);
	else if (outcome != TWS_COUNTERS)
		publish_count(open, outcome, 1);
	if (status && ending == TWS_END_FAILED)
		add_one(&status->failed);
	if (status && ending == TWS_END_RESET_REMOTE)
		add_one(&status->peer_resets);
}
