/* SPDX-License-Identifier: MIT
 *
 * Decides which rule or arm a connection gets, and what the segment keeps about it.
 */
#include "shim/policy/policy.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "shim/shared/match.h"
#include "shim/shared/breaker.h"
#include "shim/book/memory.h"
#include "shim/policy/handle.h"
#include "shim/shared/text.h"

static void copy_name(char *to, const char *from)
{
	struct tws_text text = tws_text_begin(to, TWS_NAME_SIZE);

	tws_text_add(&text, from);
}

/* The status of a rule starts again with each image. */
static struct tws_rule_status *status_of(struct tws_book *book,
					 struct tws_policy_handle *handle, uint32_t index,
					 const struct tws_rule *rule)
{
	struct tws_rule_status *status = &book->rules[index];

	if (!tws_book_ensure(book, TWS_SECTION_RULES, index))
		return NULL;
	if (status->policy_generation == handle->key)
		return status;
	memset(&status->matched, 0,
	       offsetof(struct tws_rule_status, stopped) -
		   offsetof(struct tws_rule_status, matched));
	status->stopped = TWS_STOP_NONE;
	tws_breaker_set_limits(index, &rule->action);
	copy_name(status->name, tws_policy_at(handle->image, rule->name));
	__atomic_store_n(&status->policy_generation, handle->key, __ATOMIC_RELEASE);
	return status;
}

static bool in_sample(const struct tws_action *action, uint32_t seed)
{
	return action->sample_percent >= 100 ||
	       (uint64_t)tws_policy_draw(seed) * 100 >> 32 < action->sample_percent;
}

static void decide_rule(struct tws_book *book, struct tws_policy_handle *handle,
			const struct tws_address *remote, struct tws_decision *ret)
{
	const struct tws_policy_image *image = handle->image;
	const struct tws_rule *rule = tws_policy_at(image, image->rules.offset);

	for (uint32_t i = 0; i < image->rules.count && i < TWS_RULES; i++) {
		if (!(handle->subject_matches >> i & 1))
			continue;
		if (remote ? !tws_match_address(image, &rule[i].match, remote)
			   : !tws_action_acts_at_bind(&rule[i].action))
			continue;
		ret->rule = (uint16_t)(i + 1);
		ret->short_lived_only = rule[i].match.short_lived_only;
		ret->action = rule[i].action;
		ret->matched = !remote || in_sample(&rule[i].action, i);
		ret->status = book ? status_of(book, handle, i, &rule[i]) : NULL;
		return;
	}
}

static void fill_arm(struct tws_arm *entry, struct tws_policy_handle *handle,
		     const struct tws_policy_arm *arm)
{
	const struct tws_policy_image *image = handle->image;

	copy_name(entry->experiment, tws_policy_at(image, image->experiment.name));
	copy_name(entry->name, tws_policy_at(image, arm->name));
	entry->weight = arm->weight;
	entry->policy_generation = handle->key;
	__atomic_store_n(&entry->state, TWS_DESTINATION_READY, __ATOMIC_RELEASE);
}

static bool is_arm(const struct tws_arm *entry, struct tws_policy_handle *handle,
		   const struct tws_policy_arm *arm)
{
	const struct tws_policy_image *image = handle->image;

	return !strncmp(entry->name, tws_policy_at(image, arm->name),
			TWS_NAME_SIZE - 1) &&
	       !strncmp(entry->experiment, tws_policy_at(image, image->experiment.name),
			TWS_NAME_SIZE - 1);
}

/* 1 + the index of the arm's own entry: the one with its name, or a new one. 0: there
 * is none left, and its connections are not counted separately. */
static uint8_t arm_entry(struct tws_book *book, struct tws_policy_handle *handle,
			 unsigned pick, const struct tws_policy_arm *arm)
{
	uint8_t known = __atomic_load_n(&handle->arm_entry[pick], __ATOMIC_RELAXED);

	/* Entries are in the order of the policy, except where arms of another
	 * experiment are already. */
	for (unsigned n = 0; !known && n < TWS_ARMS; n++) {
		unsigned i = (pick + n) % TWS_ARMS;
		struct tws_arm *entry = &book->arms[i];
		uint32_t free_state = TWS_DESTINATION_FREE;

		if (!tws_book_ensure(book, TWS_SECTION_ARMS, i))
			return 0;
		if (__atomic_compare_exchange_n(&entry->state, &free_state,
						TWS_DESTINATION_CLAIMED, false,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			fill_arm(entry, handle, arm);
		else if (free_state != TWS_DESTINATION_READY ||
			 !is_arm(entry, handle, arm))
			continue;
		known = (uint8_t)(i + 1);
		__atomic_store_n(&handle->arm_entry[pick], known, __ATOMIC_RELAXED);
	}
	return known;
}

static bool decide_arm(struct tws_book *book, struct tws_policy_handle *handle,
		       const struct tws_address *remote, struct tws_decision *ret)
{
	const struct tws_policy_image *image = handle->image;
	const struct tws_policy_arm *arms =
	    tws_policy_at(image, image->experiment.arms.offset);
	unsigned pick;

	if (!handle->experiment_matches || !remote ||
	    !tws_match_address(image, &image->experiment.match, remote))
		return false;
	pick = tws_pick_arm(arms, image->experiment.arms.count,
			    tws_policy_draw(image->experiment.seed));
	ret->arm = arm_entry(book, handle, pick, &arms[pick]);
	ret->action = arms[pick].action;
	ret->short_lived_only = image->experiment.match.short_lived_only;
	ret->matched = true;
	return true;
}

/* Notes the settings of a new image that hold beside its rules. */
static void note_image(struct tws_header *header, const struct tws_policy_handle *handle)
{
	const struct tws_settings *settings = &handle->image->settings;

	__atomic_store_n(&header->short_lived_ms,
			 settings->short_lived_ms ? settings->short_lived_ms : 1000,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&header->detail, settings->detail == 1, __ATOMIC_RELAXED);
	__atomic_store_n(&header->policy_generation, handle->key, __ATOMIC_RELEASE);
}

static void note_once(struct tws_book *book, const struct tws_policy_handle *handle)
{
	if (!book || book->policy_key == handle->key)
		return;
	/* Nothing has been asked about a socket yet. */
	if (tws_memory_read((uintptr_t)book->probe) == -EFAULT)
		tws_book_lost(book);
	note_image(book->header, handle);
	book->policy_key = handle->key;
}

bool tws_policy_concerns(struct tws_book *book)
{
	struct tws_policy_handle *handle = tws_policy_acquire();
	bool ret;

	if (!handle)
		return false;
	ret = handle->subject_matches || handle->experiment_matches;
	note_once(book, handle);
	tws_policy_release(handle);
	return ret;
}

struct tws_decision tws_policy_decide(struct tws_book *book,
				      const struct tws_address *remote)
{
	struct tws_decision ret = {.matched = false};
	struct tws_policy_handle *handle = tws_policy_acquire();

	if (!handle)
		return ret;
	if (!book || !decide_arm(book, handle, remote, &ret))
		decide_rule(book, handle, remote, &ret);
	note_once(book, handle);
	tws_policy_release(handle);
	return ret;
}
