/* SPDX-License-Identifier: MIT */
#include "config/guard.h"

#include <string.h>

#include "config/cover.h"
#include "shim/shared/match.h"

/* The rule or arm that is being checked. */
struct ward {
	struct tws_draft *draft;
	const struct tws_draft_part *part;
	const struct tws_match *match; /* for an arm, the experiment's */
	const struct tws_action *action;
};

static void complain(const struct ward *ward, enum tws_setting_id at, bool warning,
		     const char *what, const char *cure)
{
	unsigned line = ward->part->said[at];
	struct tws_problem problem = {0};

	tws_problem_what(&problem, "%s", what);
	tws_problem_cure(&problem, "%s", cure);
	tws_complain(ward->draft->complaints, ward->part->file,
		     line ? line : ward->part->line, warning, &problem);
}

static void error(const struct ward *ward, enum tws_setting_id at, const char *what,
		  const char *cure)
{
	complain(ward, at, false, what, cure);
}

static void warning(const struct ward *ward, enum tws_setting_id at, const char *what,
		    const char *cure)
{
	complain(ward, at, true, what, cure);
}

static bool said(const struct ward *ward, enum tws_setting_id id)
{
	return ward->part->said[id] != 0;
}

static bool resets(const struct tws_action *action)
{
	return action->close == TWS_CLOSE_RESET ||
	       action->close == TWS_CLOSE_RESET_DRAINED;
}

/* --------------------------------------------------------- settings in pairs */

static void guard_linger(const struct ward *ward)
{
	bool linger = ward->action->close == TWS_CLOSE_LINGER;

	if (linger && !ward->action->linger_seconds &&
	    !said(ward, TWS_SETTING_linger_seconds))
		error(ward, TWS_SETTING_close, "close = \"linger\" has no linger_seconds",
		      "add linger_seconds = 1, or more");
	if (!linger && said(ward, TWS_SETTING_linger_seconds))
		error(ward, TWS_SETTING_linger_seconds,
		      "linger_seconds without close = \"linger\" does nothing",
		      "set close = \"linger\", or leave it out");
}

static void guard_drain(const struct ward *ward)
{
	if (said(ward, TWS_SETTING_drain_ms) &&
	    ward->action->close != TWS_CLOSE_RESET_DRAINED)
		error(ward, TWS_SETTING_drain_ms,
		      "drain_ms without close = \"reset-drained\" does nothing",
		      "set close = \"reset-drained\", or leave it out");
	else if (ward->action->drain_ms > 0)
		warning(ward, TWS_SETTING_drain_ms,
			"drain_ms makes close() wait, even on a non-blocking socket",
			"leave it at 0 in an event loop");
}

static void guard_ports(const struct ward *ward)
{
	uint32_t flags = ward->action->flags;

	if (flags & TWS_ACTION_PORT_RING && flags & TWS_ACTION_PORT_RANGE)
		error(ward, TWS_SETTING_port_range,
		      "port_range and port_ring contradict each other",
		      "port_ring picks the ports itself: leave port_range out");
	if (flags & TWS_ACTION_PORT_RING && flags & TWS_ACTION_REUSEADDR_OFF)
		error(ward, TWS_SETTING_reuseaddr,
		      "reuseaddr = false and port_ring contradict each other",
		      "port_ring needs SO_REUSEADDR: leave reuseaddr out");
	if (said(ward, TWS_SETTING_ring_age_ms) && !(flags & TWS_ACTION_PORT_RING))
		error(ward, TWS_SETTING_ring_age_ms,
		      "ring_age_ms without port_ring does nothing",
		      "set port_ring, or leave it out");
}

static void guard_fin_timeout(const struct ward *ward)
{
	if (ward->action->close == TWS_CLOSE_FIN_RESET &&
	    ward->action->flags & TWS_ACTION_FIN_TIMEOUT)
		error(ward, TWS_SETTING_fin_timeout,
		      "fin_timeout and close = \"fin-reset\" contradict each other",
		      "both set TCP_LINGER2: leave fin_timeout out");
}

static void guard_caps(const struct ward *ward)
{
	if (said(ward, TWS_SETTING_max_resets_per_second) && !resets(ward->action))
		error(ward, TWS_SETTING_max_resets_per_second,
		      "max_resets_per_second without a reset does nothing",
		      "set close = \"reset\" or \"reset-drained\", or leave it out");
	if (said(ward, TWS_SETTING_bytes_discarded) && !resets(ward->action))
		error(ward, TWS_SETTING_bytes_discarded,
		      "bytes_discarded without a reset does nothing",
		      "set close = \"reset\" or \"reset-drained\", or leave it out");
}

/* --------------------------------------------------------------- what it asks */

static bool does_nothing(const struct tws_action *action)
{
	uint32_t modifiers = TWS_ACTION_OVERRIDE | TWS_ACTION_DRY_RUN;

	return action->close == TWS_CLOSE_KEEP && !(action->flags & ~modifiers);
}

static void guard_emptiness(const struct ward *ward)
{
	if (ward->action->sample_percent == 0)
		warning(ward, TWS_SETTING_sample,
			"sample = 0 applies the rule to nothing",
			"raise it to apply the rule");
	if (!does_nothing(ward->action))
		return;
	if (said(ward, TWS_SETTING_dry_run))
		warning(ward, TWS_SETTING_dry_run, "dry_run has nothing to try",
			"add what to try, such as close = \"fin-reset\"");
	if (said(ward, TWS_SETTING_stop_if))
		warning(ward, TWS_SETTING_stop_if, "stop_if has nothing to stop",
			"add an action to the rule, or leave stop_if out");
}

/* Returns a description of what a match without limits includes, or NULL if it has
 * limits. One address family counts, because many hosts use only one. */
static const char *takes_everything(const struct ward *ward)
{
	static const char *const TAKEN[] = {
	    NULL,
	    "close = \"reset\" for every program and IPv4 destination",
	    "close = \"reset\" for every program and IPv6 destination",
	    "close = \"reset\" for every program and destination",
	};
	const void *bytes = ward->draft->bytes;

	if (!tws_match_takes_programs(bytes, ward->match))
		return NULL;
	return TAKEN[tws_match_takes_family(bytes, ward->match, TWS_IPV4) +
		     2 * tws_match_takes_family(bytes, ward->match, TWS_IPV6)];
}

static void guard_reset(const struct ward *ward)
{
	const char *everything;

	if (ward->action->close != TWS_CLOSE_RESET)
		return;
	everything = ward->draft->top.allow_everything ? NULL : takes_everything(ward);
	if (everything && !ward->match->exe.count && !tws_match_asks_names(ward->match) &&
	    !ward->match->to.count)
		error(ward, TWS_SETTING_close, everything,
		      "name `to` or `exe` in its match, or set allow_everything = true");
	else if (everything)
		warning(ward, TWS_SETTING_close, everything,
			"narrow `to` or `exe` in its match: unsent data is lost, and "
			"close = \"fin-reset\" leaves no TIME_WAIT either; or say "
			"allow_everything = true");
	else
		warning(
		    ward, TWS_SETTING_close,
		    "close = \"reset\" throws unsent data away (4,081,152 of 4 MiB "
		    "measured)",
		    "close = \"fin-reset\" left no TIME_WAIT either and lost nothing");
}

/* Measured: these settings have no effect on TIME_WAIT, although many people say so. */
static void guard_placebos(const struct ward *ward)
{
	if (ward->action->flags & TWS_ACTION_REUSEADDR_ON &&
	    !(ward->action->flags & TWS_ACTION_PORT_RING))
		warning(ward, TWS_SETTING_reuseaddr,
			"reuseaddr alone is a placebo, unless the program binds to a "
			"fixed source port: 20 of 60 connects succeed with 20 ports, as "
			"without it",
			"use port_ring, or close = \"fin-reset\"");
	if (ward->action->close == TWS_CLOSE_LINGER)
		warning(ward, TWS_SETTING_close,
			"linger leaves the full 60 s of TIME_WAIT, and close() blocks "
			"until data is acknowledged",
			"use close = \"fin-reset\" against TIME_WAIT");
	if (ward->action->flags & TWS_ACTION_FIN_TIMEOUT)
		warning(ward, TWS_SETTING_fin_timeout,
			"fin_timeout bounds FIN_WAIT_2 alone: TIME_WAIT lasts 60 s "
			"whatever it is",
			"use close = \"fin-reset\" against TIME_WAIT");
}

static void guard_short_lived(const struct ward *ward)
{
	if (!ward->match->short_lived_only)
		return;
	if (ward->action->close == TWS_CLOSE_KEEP)
		warning(ward, TWS_SETTING_short_lived,
			"short_lived concerns close alone, and close is \"keep\"",
			"set close, or leave short_lived out");
	else if (ward->action->close == TWS_CLOSE_LINGER ||
		 ward->action->close == TWS_CLOSE_GRACEFUL)
		error(ward, TWS_SETTING_short_lived,
		      "short_lived contradicts a close that is set at connect",
		      "use close = \"fin-reset\" or \"reset-drained\", or leave it out");
	else if (ward->action->close == TWS_CLOSE_FIN_RESET)
		warning(ward, TWS_SETTING_short_lived,
			"with short_lived, fin-reset is decided at close() and does not "
			"hold at exit or SIGKILL",
			"leave short_lived out, if connections may end so");
}

static void guard_action(const struct ward *ward)
{
	static void (*const GUARDS[])(const struct ward *) = {
	    guard_linger,    guard_drain, guard_ports,	  guard_fin_timeout, guard_caps,
	    guard_emptiness, guard_reset, guard_placebos, guard_short_lived,
	};

	for (size_t i = 0; i < sizeof(GUARDS) / sizeof(*GUARDS); i++)
		GUARDS[i](ward);
}

/* --------------------------------------------------- parts beside each other */

static bool same_name(const struct tws_draft *draft, const struct tws_draft_part *a,
		      const struct tws_draft_part *b)
{
	const char *name = tws_draft_name(draft, a);

	return *name && strcmp(name, tws_draft_name(draft, b)) == 0;
}

static void guard_order(struct tws_draft *draft, unsigned index)
{
	const struct tws_draft_part *part = &draft->rules[index];
	struct ward ward = {.draft = draft, .part = part};
	struct tws_problem text;
	unsigned i;

	for (i = 0; i < index; i++)
		if (tws_match_covers(draft->bytes, &draft->rules[i].part.match,
				     &part->part.match))
			break;
	if (i < index) {
		tws_problem_what(&text,
				 "this rule is never reached: rule %u matches all "
				 "that it does",
				 i + 1);
		warning(&ward, TWS_SETTING_name, text.what,
			"move it before that rule, or narrow that rule's match");
	} else if (draft->has_experiment &&
		   tws_match_covers(draft->bytes, &draft->experiment.part.match,
				    &part->part.match)) {
		warning(&ward, TWS_SETTING_name,
			"this rule is never reached: the experiment takes all that it "
			"matches",
			"narrow the experiment's match");
	}
	for (i = 0; i < index; i++)
		if (same_name(draft, &draft->rules[i], part))
			warning(&ward, TWS_SETTING_name, "two rules have this name",
				"rename one, so that reports tell them apart");
}

static void guard_rule(struct tws_draft *draft, unsigned index)
{
	const struct tws_draft_part *part = &draft->rules[index];
	struct ward ward = {.draft = draft,
			    .part = part,
			    .match = &part->part.match,
			    .action = &part->part.action};

	guard_action(&ward);
	guard_order(draft, index);
}

static void guard_arm(struct tws_draft *draft, unsigned index)
{
	const struct tws_draft_part *part = &draft->arms[index];
	struct ward ward = {.draft = draft,
			    .part = part,
			    .match = &draft->experiment.part.match,
			    .action = &part->part.action};

	guard_action(&ward);
	for (unsigned i = 0; i < index; i++)
		if (same_name(draft, &draft->arms[i], part))
			error(&ward, TWS_SETTING_name, "two arms have this name",
			      "rename one, so that the report tells them apart");
}

static void guard_experiment(struct tws_draft *draft)
{
	struct ward ward = {.draft = draft, .part = &draft->experiment};

	if (draft->arm_count == 0)
		error(&ward, TWS_SETTING_arms, "the experiment has no arms",
		      "add arms = ( { name = \"control\"; }, { name = \"treated\"; "
		      "close = \"fin-reset\"; } )");
	else if (draft->arm_count == 1)
		warning(&ward, TWS_SETTING_arms,
			"one arm has nothing to be compared with",
			"add a second, such as { name = \"control\"; }");
}

void tws_guard(struct tws_draft *draft)
{
	for (unsigned i = 0; i < draft->rule_count; i++)
		guard_rule(draft, i);
	if (!draft->has_experiment)
		return;
	guard_experiment(draft);
	for (unsigned i = 0; i < draft->arm_count; i++)
		guard_arm(draft, i);
}
