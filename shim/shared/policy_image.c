/* SPDX-License-Identifier: MIT
 *
 * Whether an image can be trusted. Everything that a reader of the image dereferences is
 * checked here once, so that later code need not check again.
 */
#include "shim/shared/policy_image.h"

#include <stddef.h>
#include <string.h>

#define KNOWN_FLAGS ((uint32_t)TWS_ACTION_DRY_RUN * 2 - 1)

struct span {
	const struct tws_policy_image *image;
	uint64_t length;
};

static bool string_fits(const struct span *span, uint32_t offset)
{
	uint64_t room;

	if (offset < sizeof(*span->image) || offset >= span->length)
		return false;
	room = span->length - offset;
	if (room > TWS_POLICY_STRING_SIZE)
		room = TWS_POLICY_STRING_SIZE;
	return memchr(tws_policy_at(span->image, offset), '\0', room) != NULL;
}

static bool list_fits(const struct span *span, const struct tws_list *list,
		      uint64_t element, uint64_t alignment, uint32_t most)
{
	if (list->count == 0)
		return list->offset <= span->length;
	return list->count <= most && list->offset >= sizeof(*span->image) &&
	       list->offset % alignment == 0 &&
	       list->offset + list->count * element <= span->length;
}

#define LIST_FITS(span, list, type, most)                                                \
	list_fits(span, list, sizeof(type), _Alignof(type), most)

static bool target_holds(const struct tws_target *target)
{
	unsigned bits = target->family == TWS_IPV4 ? 32 : 128;

	if (target->family == TWS_FAMILY_NONE)
		bits = 0;
	else if (target->family != TWS_IPV4 && target->family != TWS_IPV6)
		return false;
	return target->prefix_bits <= bits && target->port_low <= target->port_high;
}

static bool globs_fit(const struct span *span, const struct tws_list *list)
{
	const uint32_t *globs;

	if (!LIST_FITS(span, list, uint32_t, TWS_POLICY_LIST_MAX))
		return false;
	globs = tws_policy_at(span->image, list->offset);
	for (uint32_t i = 0; i < list->count; i++)
		if (!string_fits(span, globs[i]))
			return false;
	return true;
}

static const char *check_match(const struct span *span, const struct tws_match *match)
{
	const struct tws_target *targets;

	if (!LIST_FITS(span, &match->uid, uint32_t, TWS_POLICY_LIST_MAX) ||
	    !LIST_FITS(span, &match->to, struct tws_target, TWS_POLICY_LIST_MAX))
		return "a match's list lies outside the image";
	if (!globs_fit(span, &match->exe) || !globs_fit(span, &match->app) ||
	    !globs_fit(span, &match->unit) || !globs_fit(span, &match->container))
		return "a match's glob lies outside the image";
	targets = tws_policy_at(span->image, match->to.offset);
	for (uint32_t i = 0; i < match->to.count; i++)
		if (!target_holds(&targets[i]))
			return "a match's address is malformed";
	return NULL;
}

/* A range of source ports; 0-0 means all. */
static bool ports_hold(uint16_t low, uint16_t high)
{
	return low <= high && (low > 0 || high == 0);
}

static const char *check_action(const struct tws_action *action)
{
	if (action->flags & ~KNOWN_FLAGS || action->close > TWS_CLOSE_RESET)
		return "an action is of no known kind";
	if (action->close == TWS_CLOSE_LINGER && action->linger_seconds == 0)
		return "an action lingers for 0 seconds";
	if (action->flags & TWS_ACTION_FIN_TIMEOUT && action->fin_timeout_seconds == 0)
		return "an action has a FIN timeout of 0 seconds";
	if (!ports_hold(action->port_low, action->port_high) ||
	    !ports_hold(action->ring_low, action->ring_high))
		return "an action's port range is malformed";
	if (action->sample_percent > TWS_MAX_SAMPLE_PERCENT ||
	    action->drain_ms > TWS_MAX_DRAIN_MS ||
	    action->ring_age_ms > TWS_MAX_RING_AGE_MS ||
	    action->fin_timeout_seconds > TWS_MAX_FIN_TIMEOUT ||
	    action->stop_failed_ppm > TWS_MAX_PPM ||
	    action->stop_peer_reset_ppm > TWS_MAX_PPM)
		return "an action's value is out of range";
	return NULL;
}

static const char *check_rules(const struct span *span)
{
	const struct tws_list *list = &span->image->rules;
	const struct tws_rule *rules;
	const char *why = NULL;

	if (!LIST_FITS(span, list, struct tws_rule, TWS_RULES))
		return "the rules lie outside the image";
	rules = tws_policy_at(span->image, list->offset);
	for (uint32_t i = 0; i < list->count && !why; i++) {
		if (!string_fits(span, rules[i].name))
			return "a rule's name lies outside the image";
		why = check_match(span, &rules[i].match);
		if (!why)
			why = check_action(&rules[i].action);
	}
	return why;
}

static const char *check_experiment(const struct span *span)
{
	const struct tws_experiment *experiment = &span->image->experiment;
	const struct tws_policy_arm *arms;
	const char *why = check_match(span, &experiment->match);

	if (!why && !LIST_FITS(span, &experiment->arms, struct tws_policy_arm, TWS_ARMS))
		return "the arms lie outside the image";
	if (experiment->name == 0)
		return experiment->arms.count ? "arms without an experiment" : why;
	if (!string_fits(span, experiment->name) || experiment->arms.count == 0)
		return "the experiment is malformed";
	arms = tws_policy_at(span->image, experiment->arms.offset);
	for (uint32_t i = 0; i < experiment->arms.count && !why; i++) {
		if (!string_fits(span, arms[i].name) || arms[i].weight == 0 ||
		    arms[i].weight > TWS_MAX_WEIGHT)
			return "an arm is malformed";
		why = check_action(&arms[i].action);
	}
	return why;
}

static bool settings_hold(const struct tws_settings *settings)
{
	return settings->short_lived_ms <= TWS_MAX_SHORT_LIVED_MS &&
	       settings->detail <= 2 && settings->deepbind <= TWS_DEEPBIND_STRIP &&
	       settings->retention_s <= TWS_MAX_RETENTION_S &&
	       settings->max_segments <= TWS_MAX_SEGMENTS &&
	       settings->connections <= TWS_MAX_CONNECTIONS &&
	       settings->destinations <= TWS_MAX_DESTINATIONS &&
	       settings->ended <= TWS_MAX_ENDED &&
	       settings->time_wait <= TWS_MAX_TIME_WAIT;
}

static const char *check_header(const struct span *span)
{
	const struct tws_policy_image *image = span->image;

	if (image->magic != TWS_POLICY_MAGIC)
		return "not a policy image";
	if (image->byte_order != TWS_BYTE_ORDER)
		return "of another byte order";
	if (image->abi_major != TWS_POLICY_ABI_MAJOR)
		return "of another version";
	if (image->size != span->length)
		return "truncated, or longer than it says";
	if (image->checksum != tws_policy_checksum(image))
		return "damaged: its checksum differs";
	if (!settings_hold(&image->settings))
		return "a setting is out of range";
	return string_fits(span, image->source) ? NULL : "its source has no name";
}

const char *tws_policy_validate(const void *bytes, uint64_t length)
{
	struct span span = {.image = bytes, .length = length};
	const char *why;

	if (length < sizeof(*span.image))
		return "too short";
	if (length > TWS_POLICY_MAX_SIZE)
		return "too long";
	if ((uintptr_t)bytes % _Alignof(struct tws_policy_image) != 0)
		return "not aligned in memory";
	why = check_header(&span);
	if (!why)
		why = check_rules(&span);
	return why ? why : check_experiment(&span);
}

uint32_t tws_policy_checksum(const struct tws_policy_image *image)
{
	const size_t hole = offsetof(struct tws_policy_image, checksum);
	const uint8_t *bytes = (const uint8_t *)image;
	uint32_t hash = 0x811c9dc5u;

	for (size_t i = 0; i < image->size; i++) {
		bool skipped = i - hole < sizeof(image->checksum);

		hash = (hash ^ (skipped ? 0 : bytes[i])) * 0x01000193u;
	}
	return hash;
}
