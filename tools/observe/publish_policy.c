/* SPDX-License-Identifier: MIT
 *
 * How the rules and arms of a policy fared in a process that an observer's policy acts
 * on: counted as the shim counts it. A connection keeps the rule of the policy that it
 * began under, also when another is in force by the time it ends.
 */
#include <stdio.h>
#include <string.h>

#include "shim/shared/breaker.h"
#include "shim/shared/ending.h"
#include "tools/observe/publish_parts.h"

void publish_set_policy(struct publisher *publisher, const struct tws_policy_image *image,
			uint64_t key, uint32_t followed)
{
	const struct tws_rule *rules =
	    image ? tws_policy_at(image, image->rules.offset) : NULL;

	publisher->policy = image;
	publisher->policy_key = key;
	publisher->policy_layers = followed;
	for (uint32_t i = 0; image && i < image->rules.count && i < TWS_RULES; i++)
		tws_breaker_set_limits(i, &rules[i].action);
	for (struct published *at = publisher->first; at; at = at->next)
		__atomic_store_n(&at->file.header->policy_layers, followed,
				 __ATOMIC_RELAXED);
}

static void copy_policy_name(char *to, const struct tws_policy_image *image,
			     uint32_t offset)
{
	snprintf(to, TWS_NAME_SIZE, "%s", (const char *)tws_policy_at(image, offset));
}

/* ----------------------------------------------------------------------- rules */

/* The entry of a rule of the policy in force; it starts again with each policy. */
static struct tws_rule_status *begin_status(struct published *published, uint16_t rule)
{
	const struct publisher *publisher = published->publisher;
	const struct tws_policy_image *image = publisher->policy;
	const struct tws_rule *rules;
	struct tws_rule_status *status;
	uint32_t index = rule - 1u;

	if (!rule || !image ||
	    !publish_file_reach(&published->file, TWS_SECTION_RULES, index))
		return NULL;
	status = publish_file_at(&published->file, TWS_SECTION_RULES, index);
	if (status->policy_generation == publisher->policy_key)
		return status;
	rules = tws_policy_at(image, image->rules.offset);
	memset(&status->matched, 0,
	       offsetof(struct tws_rule_status, name) -
		   offsetof(struct tws_rule_status, matched));
	copy_policy_name(status->name, image, rules[index].name);
	__atomic_store_n(&status->policy_generation, publisher->policy_key,
			 __ATOMIC_RELEASE);
	return status;
}

/* NULL also if its rule is of a policy that is not in force any more. */
static struct tws_rule_status *status_of(const struct open_connection *open)
{
	struct tws_rule_status *status;

	if (!open->rule)
		return NULL;
	status =
	    publish_file_at(&open->published->file, TWS_SECTION_RULES, open->rule - 1u);
	return status->policy_generation == open->policy_key ? status : NULL;
}

bool publish_matched(struct published *published, uint16_t rule)
{
	struct tws_rule_status *status = begin_status(published, rule);

	return !status || tws_breaker_matched(status);
}

/* ------------------------------------------------------------------------ arms */

static bool is_arm(const struct tws_arm *entry, const struct tws_policy_image *image,
		   const struct tws_policy_arm *arm)
{
	return !strncmp(entry->name, tws_policy_at(image, arm->name),
			TWS_NAME_SIZE - 1) &&
	       !strncmp(entry->experiment, tws_policy_at(image, image->experiment.name),
			TWS_NAME_SIZE - 1);
}

static void fill_arm(struct tws_arm *entry, const struct publisher *publisher,
		     const struct tws_policy_arm *arm)
{
	const struct tws_policy_image *image = publisher->policy;

	copy_policy_name(entry->experiment, image, image->experiment.name);
	copy_policy_name(entry->name, image, arm->name);
	entry->weight = arm->weight;
	entry->policy_generation = publisher->policy_key;
	__atomic_store_n(&entry->state, TWS_DESTINATION_READY, __ATOMIC_RELEASE);
}

/* 1 + the index of the entry that has its name, or of a new one. 0: there is none left,
 * and its connections are not counted separately. */
static uint8_t find_arm(struct published *published, uint8_t picked)
{
	const struct tws_policy_image *image = published->publisher->policy;
	const struct tws_policy_arm *arm;
	struct tws_arm *entry;

	if (!picked || !image)
		return 0;
	arm = tws_policy_at(image, image->experiment.arms.offset);
	arm += picked - 1;
	for (uint32_t n = 0, i; n < TWS_ARMS; n++) {
		i = (picked - 1u + n) % TWS_ARMS;
		if (!publish_file_reach(&published->file, TWS_SECTION_ARMS, i))
			return 0;
		entry = publish_file_at(&published->file, TWS_SECTION_ARMS, i);
		if (entry->state != TWS_DESTINATION_READY)
			fill_arm(entry, published->publisher, arm);
		if (is_arm(entry, image, arm))
			return (uint8_t)(i + 1);
	}
	return 0;
}

struct tws_counters *publish_arm_counters(const struct open_connection *open)
{
	struct tws_arm *entry;

	if (!open->arm)
		return NULL;
	entry = publish_file_at(&open->published->file, TWS_SECTION_ARMS, open->arm - 1u);
	return &entry->counters;
}

/* ------------------------------------------------------------------ connections */

void publish_note_decision(struct open_connection *open,
			   const struct publish_decision *decision)
{
	const struct publisher *publisher = open->published->publisher;

	open->rule = begin_status(open->published, decision->rule) ? decision->rule : 0;
	open->arm = find_arm(open->published, decision->arm);
	open->plan = decision->plan;
	open->policy_key = publisher->policy_key;
	__atomic_store_n(&open->published->file.header->policy_generation,
			 publisher->policy_key, __ATOMIC_RELEASE);
}

void publish_applied(struct open_connection *open)
{
	struct tws_rule_status *status = status_of(open);

	if (open->flags & TWS_CONN_POLICY_COUNTED)
		return;
	open->flags |= TWS_CONN_POLICY_COUNTED;
	publish_count(open, TWS_policy_applied, 1);
	if (status)
		__atomic_fetch_add(&status->applied, 1, __ATOMIC_RELEASE);
}

void publish_decide(struct open_connection *open, const struct publish_decision *decision)
{
	if (decision->stopped)
		publish_count(open, TWS_policy_skipped_stopped, 1);
	if (decision->unsupported)
		publish_count(open, TWS_policy_unsupported, 1);
	if (decision->kept_app_option)
		publish_count(open, TWS_policy_skipped_app_option, 1);
	if (decision->would_apply)
		publish_count(open, TWS_policy_would_apply, 1);
	if (decision->applied)
		publish_applied(open);
}

bool publish_may_reset(const struct open_connection *open)
{
	struct tws_rule_status *status = status_of(open);

	return !status || tws_breaker_may_reset(status, open->rule - 1u);
}

void publish_discarded(const struct open_connection *open, uint64_t bytes)
{
	struct tws_rule_status *status = status_of(open);

	publish_count(open, TWS_bytes_discarded, bytes);
	if (status)
		tws_breaker_discarded(status, open->rule - 1u, bytes);
}

static void count_outcome(struct open_connection *open, enum tws_counter outcome)
{
	if (outcome == TWS_policy_applied)
		publish_applied(open);
	else if (outcome != TWS_COUNTERS)
		publish_count(open, outcome, 1);
}

/* Why its rule did nothing at the last close that was seen; TWS_COUNTERS: it acted. It
 * was too late if there is TIME_WAIT. */
static enum tws_counter why_not(const struct open_connection *open,
				enum tws_ending ending)
{
	const enum tws_counter counter = open->to_count - 1u;

	if (!open->to_count || ending == TWS_END_RESET_POLICY)
		return TWS_COUNTERS;
	return counter == TWS_policy_too_late && ending != TWS_END_LOCAL_FIN
		   ? TWS_COUNTERS
		   : counter;
}

/* What the options achieved that a policy set is known only now. */
void publish_policy_ended(struct open_connection *open, enum tws_ending ending)
{
	struct tws_rule_status *status = status_of(open);

	count_outcome(open, tws_ending_fin_reset_outcome(ending, open->flags));
	count_outcome(open, tws_ending_reset_outcome(ending, open->flags));
	count_outcome(open, why_not(open, ending));
	if (status && ending == TWS_END_FAILED)
		tws_breaker_failed(status, open->rule - 1u);
	if (status && ending == TWS_END_RESET_REMOTE)
		tws_breaker_peer_reset(status, open->rule - 1u);
}
