/* SPDX-License-Identifier: MIT */
#include "tools/observe/policy_at_call.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/shared/newer.h"
#include "shim/shared/layout.h"
#include "tools/kernel/kernel.h"
#include "tools/observe/binding.h"

static int option_of_socket(int fd, int level, int name)
{
	int value = 0;
	socklen_t length = sizeof(value);

	return getsockopt(fd, level, name, &value, &length) == 0 ? value : 0;
}

void policy_at_call_init(struct policy_at_call *policy,
			 const struct tws_policy_image *image)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*policy = (struct policy_at_call){.image = image};
	if (fd < 0)
		return;
	policy->usual_linger2 = option_of_socket(fd, IPPROTO_TCP, TCP_LINGER2);
	close(fd);
}

/* ---------------------------------------------------------------- what it asks for */

static bool any_action(const struct tws_policy_image *image,
		       bool (*asks)(const struct tws_action *action))
{
	const struct tws_rule *rules;
	const struct tws_policy_arm *arms;

	if (!image)
		return false;
	rules = tws_policy_at(image, image->rules.offset);
	for (uint32_t i = 0; i < image->rules.count; i++)
		if (asks(&rules[i].action))
			return true;
	arms = tws_policy_at(image, image->experiment.arms.offset);
	for (uint32_t i = 0; i < image->experiment.arms.count; i++)
		if (asks(&arms[i].action))
			return true;
	return false;
}

static bool acts_at_close(const struct tws_action *action)
{
	return action->close != TWS_CLOSE_KEEP && action->close != TWS_CLOSE_LINGER;
}

bool policy_wants_closes(const struct tws_policy_image *image)
{
	return any_action(image, acts_at_close);
}

bool policy_wants_binds(const struct tws_policy_image *image)
{
	return any_action(image, tws_action_acts_at_bind);
}

/* -------------------------------------------------------------------- the decision */

static uint32_t draw(struct policy_at_call *policy, uint32_t seed)
{
	return tws_draw(seed, policy->draws++);
}

static const struct tws_action *decide_arm(struct policy_at_call *policy,
					   const struct tws_subject *subject,
					   const struct tws_address *to,
					   struct publish_decision *decision)
{
	const struct tws_experiment *experiment = &policy->image->experiment;
	const struct tws_policy_arm *arms;
	unsigned picked;

	if (!experiment->name ||
	    !tws_match_subject(policy->image, &experiment->match, subject) ||
	    !tws_match_address(policy->image, &experiment->match, to))
		return NULL;
	arms = tws_policy_at(policy->image, experiment->arms.offset);
	picked =
	    tws_pick_arm(arms, experiment->arms.count, draw(policy, experiment->seed));
	decision->arm = (uint8_t)(picked + 1);
	decision->matched = true;
	decision->plan.short_lived = experiment->match.short_lived_only;
	return &arms[picked].action;
}

static const struct tws_action *decide_rule(struct policy_at_call *policy,
					    const struct tws_subject *subject,
					    const struct tws_address *to,
					    struct publish_decision *decision)
{
	const struct tws_policy_image *image = policy->image;
	const struct tws_rule *rules = tws_policy_at(image, image->rules.offset);
	uint32_t share;

	for (uint32_t i = 0; i < image->rules.count && i < TWS_RULES; i++) {
		if (!tws_match_subject(image, &rules[i].match, subject) ||
		    !tws_match_address(image, &rules[i].match, to))
			continue;
		share = rules[i].action.sample_percent;
		decision->rule = (uint16_t)(i + 1);
		decision->matched =
		    share >= 100 || (uint64_t)draw(policy, i) * 100 >> 32 < share;
		decision->plan.short_lived = rules[i].match.short_lived_only;
		return &rules[i].action;
	}
	return NULL;
}

/* ---------------------------------------------------------------------- options */

static void set_option(int fd, int level, int name, int value,
		       struct publish_decision *decision)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)) == 0)
		decision->applied = true;
	else
		decision->unsupported = true;
}

static void set_port_range(int fd, const struct tws_action *action,
			   struct publish_decision *decision, uint32_t *flags)
{
	uint16_t low = action->port_low, high = action->port_high;
	const bool bound = binding_port(fd) != 0;

	decision->kept_app_option |= bound;
	if (bound || (!low && !high && kernel_port_range(&low, &high) != 0))
		return;
	set_option(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, (int)((uint32_t)high << 16 | low),
		   decision);
	if (!decision->unsupported)
		*flags |= TWS_CONN_PORT_RANGE;
}

/* False: the program set it itself, and the rule respects that. */
static bool may_set_linger2(const struct policy_at_call *policy, int fd,
			    const struct tws_action *action,
			    struct publish_decision *decision)
{
	if (action->flags & TWS_ACTION_OVERRIDE ||
	    option_of_socket(fd, IPPROTO_TCP, TCP_LINGER2) == policy->usual_linger2)
		return true;
	decision->kept_app_option = true;
	return false;
}

/* Whether it helps is known, and counted, only when the connection ends. */
static void set_fin_reset(const struct policy_at_call *policy, int fd,
			  const struct tws_action *action,
			  struct publish_decision *decision, uint32_t *flags)
{
	bool applied = decision->applied;

	if (!may_set_linger2(policy, fd, action, decision))
		return;
	set_option(fd, IPPROTO_TCP, TCP_LINGER2, -1, decision);
	if (decision->applied)
		*flags |= TWS_CONN_POLICY_LINGER2;
	decision->applied = applied;
}

static void set_linger(int fd, const struct tws_action *action,
		       struct publish_decision *decision, uint32_t *flags)
{
	struct linger linger = {0};
	socklen_t length = sizeof(linger);

	if (!(action->flags & TWS_ACTION_OVERRIDE) &&
	    getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length) == 0 &&
	    linger.l_onoff) {
		decision->kept_app_option = true;
		return;
	}
	linger = (struct linger){1, action->linger_seconds};
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) != 0)
		return;
	decision->applied = true;
	*flags |= TWS_CONN_POLICY_LINGER_N;
}

/* What the close is to do. Without seeing it, only fin-reset can be, at once. */
static void plan_close(const struct policy_at_call *policy,
		       const struct tws_action *action, bool sees_close,
		       struct publish_decision *decision)
{
	uint32_t short_lived_ms = policy->image->settings.short_lived_ms;

	if (!sees_close) {
		decision->unsupported = true;
		return;
	}
	decision->plan.mode = action->close;
	decision->plan.dry_run = action->flags & TWS_ACTION_DRY_RUN;
	decision->plan.override = action->flags & TWS_ACTION_OVERRIDE;
	decision->plan.short_lived_ms =
	    short_lived_ms ? short_lived_ms : TWS_SHORT_LIVED_MS;
}

static void set_close_mode(const struct policy_at_call *policy, int fd,
			   const struct tws_action *action, bool sees_close,
			   struct publish_decision *decision, uint32_t *flags)
{
	if (action->close == TWS_CLOSE_LINGER)
		set_linger(fd, action, decision, flags);
	else if (action->close == TWS_CLOSE_FIN_RESET && !decision->plan.short_lived)
		set_fin_reset(policy, fd, action, decision, flags);
	else if (action->close != TWS_CLOSE_KEEP)
		plan_close(policy, action, sees_close, decision);
}

static void set_reuseaddr(int fd, const struct tws_action *action,
			  struct publish_decision *decision)
{
	uint32_t asked =
	    action->flags & (TWS_ACTION_REUSEADDR_ON | TWS_ACTION_REUSEADDR_OFF);

	if (asked)
		set_option(fd, SOL_SOCKET, SO_REUSEADDR, asked == TWS_ACTION_REUSEADDR_ON,
			   decision);
}

static void carry_out(const struct policy_at_call *policy, int fd,
		      const struct tws_action *action, bool sees_close,
		      struct publish_decision *decision, uint32_t *flags)
{
	set_reuseaddr(fd, action, decision);
	if (action->flags & TWS_ACTION_PORT_RANGE)
		set_port_range(fd, action, decision, flags);
	if (action->flags & TWS_ACTION_PORT_RING)
		decision->unsupported = true;
	if (action->flags & TWS_ACTION_FIN_TIMEOUT &&
	    may_set_linger2(policy, fd, action, decision))
		set_option(fd, IPPROTO_TCP, TCP_LINGER2, (int)action->fin_timeout_seconds,
			   decision);
	set_close_mode(policy, fd, action, sees_close, decision, flags);
}

/* Whether a dry run is counted now. What acts only on how a connection ends is counted
 * at its close, where that is seen. */
static bool asks_now(const struct tws_action *action, bool sees_close, uint32_t flags)
{
	if (action->flags & TWS_ACTION_LATE_BIND && flags & TWS_CONN_APP_BOUND_0)
		return true;
	return action->flags & (TWS_ACTION_REUSEADDR_ON | TWS_ACTION_REUSEADDR_OFF |
				TWS_ACTION_PORT_RANGE | TWS_ACTION_PORT_RING |
				TWS_ACTION_FIN_TIMEOUT) ||
	       action->close == TWS_CLOSE_LINGER ||
	       (action->close != TWS_CLOSE_KEEP && !sees_close);
}

const struct tws_action *policy_decide(struct policy_at_call *policy,
				       const struct tws_subject *subject,
				       const struct tws_address *to,
				       struct publish_decision *ret_decision)
{
	const struct tws_action *action;

	*ret_decision = (struct publish_decision){0};
	if (!policy->image)
		return NULL;
	action = decide_arm(policy, subject, to, ret_decision);
	if (!action)
		action = decide_rule(policy, subject, to, ret_decision);
	return action && ret_decision->matched ? action : NULL;
}

void policy_carry_out(const struct policy_at_call *policy, int fd,
		      const struct tws_action *action, bool sees_close,
		      struct publish_decision *decision, uint32_t *flags)
{
	if (!(action->flags & TWS_ACTION_DRY_RUN)) {
		carry_out(policy, fd, action, sees_close, decision, flags);
		return;
	}
	decision->would_apply = asks_now(action, sees_close, *flags);
	if (acts_at_close(action) && sees_close)
		plan_close(policy, action, true, decision);
	decision->plan.counted = decision->would_apply;
}

/* False: the program has set it itself. */
static bool take_no_port(int fd)
{
	struct publish_decision decision = {0};

	if (option_of_socket(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT))
		return false;
	set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, &decision);
	return decision.applied;
}

bool policy_at_bind(const struct policy_at_call *policy, int fd,
		    const struct tws_subject *subject, bool to_port_0)
{
	const struct tws_policy_image *image = policy->image;
	const struct tws_rule *rules =
	    image ? tws_policy_at(image, image->rules.offset) : NULL;
	struct publish_decision ignored = {0};

	for (uint32_t i = 0; image && i < image->rules.count && i < TWS_RULES; i++) {
		if (!tws_match_subject(image, &rules[i].match, subject) ||
		    !tws_action_acts_at_bind(&rules[i].action))
			continue;
		if (rules[i].action.flags & TWS_ACTION_DRY_RUN)
			return false;
		set_reuseaddr(fd, &rules[i].action, &ignored);
		return to_port_0 && rules[i].action.flags & TWS_ACTION_LATE_BIND &&
		       take_no_port(fd);
	}
	return false;
}
