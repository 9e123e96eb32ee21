/* SPDX-License-Identifier: MIT */
#include "tools/policy/explain.h"

#include <stdlib.h>
#include <string.h>

#include "config/describe.h"
#include "tools/base/json.h"
#include "tools/base/print.h"
#include "tools/base/risk.h"

/* A part that is tried: the experiment of the image, or the rule with that index. */
struct candidate {
	const struct tws_match *match;
	const char *name;
	unsigned rule; /* 1 + index; 0: the experiment */
	unsigned line;
	const char *
	    refuses; /* the setting of its match that does not match; NULL if all match */
};

struct query {
	const struct tws_policy_image *image;
	const struct tws_subject *subject;
	const struct tws_address *address;
};

static const struct tws_rule *rules_of(const struct query *query)
{
	return tws_policy_at(query->image, query->image->rules.offset);
}

/* Returns the first setting of a match that does not match. Each is tried alone. */
static const char *refusing_setting(const struct query *query,
				    const struct tws_match *match)
{
	const struct {
		const char *setting;
		struct tws_match match;
	} parts[] = {
	    {"exe", {.exe = match->exe}},
	    {"app", {.app = match->app}},
	    {"unit", {.unit = match->unit}},
	    {"container", {.container = match->container}},
	    {"uid", {.uid = match->uid}},
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!tws_match_subject(query->image, &parts[i].match, query->subject))
			return parts[i].setting;
	return tws_match_address(query->image, match, query->address) ? NULL : "to";
}

static unsigned candidate_count(const struct query *query)
{
	return query->image->rules.count + 1;
}

/* Returns the n-th part to try: 0 is the experiment, if there is one. */
static bool get_candidate(const struct query *query, unsigned n, struct candidate *ret)
{
	const struct tws_policy_image *image = query->image;
	const struct tws_rule *rule = n ? &rules_of(query)[n - 1] : NULL;

	if (!rule && !image->experiment.name)
		return false;
	*ret = (struct candidate){.rule = n};
	ret->match = rule ? &rule->match : &image->experiment.match;
	ret->name = tws_policy_at(image, rule ? rule->name : image->experiment.name);
	ret->line = rule ? rule->line : 0;
	ret->refuses = refusing_setting(query, ret->match);
	return true;
}

/* Returns 1 + the index of the rule that decides at bind(), where the destination is
 * still unknown; 0 if there is none. */
static unsigned rule_at_bind(const struct query *query)
{
	const struct tws_rule *rules = rules_of(query);

	for (unsigned i = 0; i < query->image->rules.count; i++)
		if (tws_match_subject(query->image, &rules[i].match, query->subject) &&
		    tws_action_acts_at_bind(&rules[i].action))
			return i + 1;
	return 0;
}

static unsigned total_weight(const struct query *query)
{
	const struct tws_list *list = &query->image->experiment.arms;
	const struct tws_policy_arm *arms = tws_policy_at(query->image, list->offset);
	unsigned total = 0;

	for (unsigned i = 0; i < list->count; i++)
		total += arms[i].weight;
	return total;
}

/* --------------------------------------------------------------------- text */

/* The name comes from whoever wrote the image, so it is escaped. */
#define SAFE_SIZE (4 * TWS_POLICY_STRING_SIZE)

#define RISK_INDENT 4
#define WIDTH	    90

static void print_action(FILE *out, const struct tws_action *action)
{
	char *text = tws_describe_action(action);
	const char *risk = risk_of_close(action->close);

	fprintf(out, "%s\n", text && *text ? text : "observed only");
	free(text);
	if (!risk)
		return;
	fprintf(out, "%*s", RISK_INDENT, "");
	print_wrapped(out, risk, RISK_INDENT, WIDTH);
}

static void print_arms(FILE *out, const struct query *query)
{
	const struct tws_list *list = &query->image->experiment.arms;
	const struct tws_policy_arm *arms = tws_policy_at(query->image, list->offset);
	char safe[SAFE_SIZE];

	for (unsigned i = 0; i < list->count; i++) {
		fprintf(out, "    %.0f %% of them, arm \"%s\": ",
			100.0 * arms[i].weight / total_weight(query),
			print_escape(safe, sizeof(safe),
				     tws_policy_at(query->image, arms[i].name)));
		print_action(out, &arms[i].action);
	}
}

static void print_candidate(FILE *out, const struct query *query,
			    const struct candidate *candidate)
{
	char safe[SAFE_SIZE];

	print_escape(safe, sizeof(safe), candidate->name);
	if (candidate->rule)
		fprintf(out, "  rule %u \"%s\"", candidate->rule, safe);
	else
		fprintf(out, "  experiment \"%s\"", safe);
	if (candidate->line)
		fprintf(out, " (line %u)", candidate->line);
	if (candidate->refuses) {
		fprintf(out, ": no, its `%s` does not match\n", candidate->refuses);
		return;
	}
	fprintf(out, ": decides\n");
	if (!candidate->rule) {
		print_arms(out, query);
		return;
	}
	fprintf(out, "    ");
	print_action(out, &rules_of(query)[candidate->rule - 1].action);
}

static void print_bind_note(FILE *out, const struct query *query, unsigned decided)
{
	unsigned rule = rule_at_bind(query);

	if (rule && rule != decided)
		fprintf(out,
			"  rule %u also: at a bind() before connect() no destination is "
			"known, and it is the first\n    for this program that sets "
			"late_bind or reuseaddr\n",
			rule);
}

void tws_policy_explain_text(FILE *out, const struct tws_policy_image *image,
			     const struct tws_subject *subject,
			     const struct tws_address *address)
{
	const struct query query = {
	    .image = image, .subject = subject, .address = address};
	struct candidate candidate;

	for (unsigned i = 0; i < candidate_count(&query); i++) {
		if (!get_candidate(&query, i, &candidate))
			continue;
		print_candidate(out, &query, &candidate);
		if (candidate.refuses)
			continue;
		print_bind_note(out, &query, candidate.rule);
		return;
	}
	fprintf(out, "  nothing decides: the connection is observed only\n");
	print_bind_note(out, &query, 0);
}

/* --------------------------------------------------------------------- JSON */

static json_t *candidate_json(const struct candidate *candidate)
{
	json_t *ret = json_object();

	if (candidate->rule)
		json_object_set_new(ret, "rule", json_integer(candidate->rule));
	if (candidate->line)
		json_object_set_new(ret, "line", json_integer(candidate->line));
	json_object_set_new(ret, "name", print_json_text(candidate->name));
	json_object_set_new(ret, "matches", json_boolean(!candidate->refuses));
	if (candidate->refuses)
		json_object_set_new(ret, "why", json_string(candidate->refuses));
	return ret;
}

static json_t *action_json(const struct tws_action *action)
{
	char *text = tws_describe_action(action);
	json_t *ret = json_string(text ? text : "");

	free(text);
	return ret;
}

static json_t *risk_json(const struct tws_action *action)
{
	const char *risk = risk_of_close(action->close);

	return risk ? json_string(risk) : json_null();
}

static json_t *arms_json(const struct query *query)
{
	const struct tws_list *list = &query->image->experiment.arms;
	const struct tws_policy_arm *arms = tws_policy_at(query->image, list->offset);
	json_t *ret = json_array();

	for (unsigned i = 0; i < list->count; i++)
		json_array_append_new(
		    ret,
		    json_pack("{s:o, s:f, s:o, s:o}", "name",
			      print_json_text(tws_policy_at(query->image, arms[i].name)),
			      "share", 1.0 * arms[i].weight / total_weight(query),
			      "action", action_json(&arms[i].action), "risk",
			      risk_json(&arms[i].action)));
	return ret;
}

static void add_verdict(json_t *object, const struct query *query,
			const struct candidate *decider)
{
	if (!decider) {
		json_object_set_new(object, "decides", json_string("none"));
		return;
	}
	json_object_set_new(object, "decides",
			    json_string(decider->rule ? "rule" : "experiment"));
	json_object_set_new(object, "name", print_json_text(decider->name));
	if (!decider->rule) {
		json_object_set_new(object, "arms", arms_json(query));
		return;
	}
	json_object_set_new(object, "rule", json_integer(decider->rule));
	json_object_set_new(object, "action",
			    action_json(&rules_of(query)[decider->rule - 1].action));
	json_object_set_new(object, "risk",
			    risk_json(&rules_of(query)[decider->rule - 1].action));
}

json_t *tws_policy_explain_json(const struct tws_policy_image *image,
				const struct tws_subject *subject,
				const struct tws_address *address)
{
	const struct query query = {
	    .image = image, .subject = subject, .address = address};
	json_t *ret = json_object(), *considered = json_array();
	struct candidate candidate;
	bool decided = false;

	for (unsigned i = 0; i < candidate_count(&query) && !decided; i++) {
		if (!get_candidate(&query, i, &candidate))
			continue;
		json_array_append_new(considered, candidate_json(&candidate));
		decided = !candidate.refuses;
	}
	add_verdict(ret, &query, decided ? &candidate : NULL);
	if (rule_at_bind(&query))
		json_object_set_new(ret, "at_bind", json_integer(rule_at_bind(&query)));
	json_object_set_new(ret, "considered", considered);
	return ret;
}
