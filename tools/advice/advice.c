/* SPDX-License-Identifier: MIT */
#include "tools/advice/advice.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"
#include "tools/base/risk.h"

static const advice_rule rules[] = {
#define FINDING(id, rule, scope, title, background, sources) rule_##rule,
#include "tools/advice/findings.def"
};

#define COUNT (sizeof(rules) / sizeof(*rules))

const struct advice_explanation advice_explanations[COUNT] = {
#define FINDING(id, rule, scope, title, background, sources)                             \
	{#id, title, ADVICE_##scope, background, sources},
#include "tools/advice/findings.def"
};
const size_t advice_explanation_count = COUNT;

const struct advice_explanation *advice_explain(const char *id)
{
	for (size_t i = 0; i < COUNT; i++)
		if (strcasecmp(advice_explanations[i].id, id) == 0)
			return &advice_explanations[i];
	return NULL;
}

static int add_finding(struct advice *advice, const struct advice_finding *finding)
{
	struct advice_finding *findings =
	    array_grow(advice->findings, advice->count, sizeof(*findings));

	if (!findings)
		return -ENOMEM;
	advice->findings = findings;
	advice->findings[advice->count++] = *finding;
	return 0;
}

/* "Bound before connect: curl to 10.0.0.7:6379", for rules that write none. */
static void default_headline(struct advice_finding *finding)
{
	if (*finding->headline)
		return;
	snprintf(finding->headline, sizeof(finding->headline), "%s%s%s%s%s",
		 finding->title, *finding->app || *finding->to ? ":" : "",
		 *finding->app ? " " : "", finding->app, *finding->to ? " to " : "");
	snprintf(finding->headline + strlen(finding->headline), 64, "%s", finding->to);
	finding->headline[0] = (char)toupper((unsigned char)finding->headline[0]);
}

static int apply_rule(struct advice *advice, size_t index,
		      const struct advice_facts *facts)
{
	const struct advice_explanation *about = &advice_explanations[index];
	bool by_app = about->scope == ADVICE_DESTINATION || about->scope == ADVICE_APP;
	struct advice_finding finding = {
	    .id = about->id,
	    .title = about->title,
	    .of = facts->client.of,
	    .certainty = by_app ? CERTAINTY_COUNTED : CERTAINTY_READ,
	    .period = !by_app		     ? PERIOD_NOW
		      : facts->client.recent ? PERIOD_GOING
					     : PERIOD_ALL,
	};

	rules[index](facts, &finding);
	if (finding.verdict == VERDICT_OK && !(advice->keep_ok && *finding.evidence))
		return 0;
	if (facts->client.app && !*finding.app)
		snprintf(finding.app, sizeof(finding.app), "%s", facts->client.app);
	if (facts->client.to && !*finding.to)
		snprintf(finding.to, sizeof(finding.to), "%s", facts->client.to);
	default_headline(&finding);
	return add_finding(advice, &finding);
}

int advice_examine(struct advice *advice, enum advice_scope scope,
		   const struct advice_facts *facts)
{
	int result = 0;

	for (size_t i = 0; result == 0 && i < COUNT; i++)
		if (advice_explanations[i].scope == scope)
			result = apply_rule(advice, i, facts);
	return result;
}

static int compare_findings(const void *a, const void *b)
{
	const struct advice_finding *x = a, *y = b;
	int result;

	if (x->verdict > VERDICT_UNKNOWN && y->verdict > VERDICT_UNKNOWN &&
	    x->aside != y->aside)
		return x->aside ? 1 : -1;
	if (x->verdict != y->verdict)
		return x->verdict < y->verdict ? 1 : -1;
	if (x->hurts != y->hurts)
		return x->hurts ? -1 : 1;
	if (x->weight != y->weight)
		return x->weight < y->weight ? 1 : -1;
	result = strcmp(x->id, y->id);
	if (result == 0)
		result = strcmp(x->app, y->app);
	return result ? result : strcmp(x->to, y->to);
}

void advice_sort(struct advice *advice)
{
	if (advice->count)
		qsort(advice->findings, advice->count, sizeof(*advice->findings),
		      compare_findings);
}

void advice_free(struct advice *advice)
{
	free(advice->findings);
	*advice = (struct advice){0};
}

const char *advice_verdict_name(enum advice_verdict verdict)
{
	static const char *const names[] = {
	    [VERDICT_OK] = "ok",	   [VERDICT_UNKNOWN] = "unknown",
	    [VERDICT_NOTICE] = "notice",   [VERDICT_WARNING] = "warning",
	    [VERDICT_PROBLEM] = "problem",
	};

	return names[verdict];
}

const char *advice_period_name(enum advice_period period)
{
	static const char *const names[] = {
	    [PERIOD_ALL] = "all",
	    [PERIOD_GOING] = "all, still going on",
	    [PERIOD_MINUTE] = "last minute",
	    [PERIOD_NOW] = "now",
	};

	return names[period];
}

const char *advice_certainty_name(enum advice_certainty certainty)
{
	static const char *const names[] = {
	    [CERTAINTY_COUNTED] = "counted",
	    [CERTAINTY_READ] = "read",
	    [CERTAINTY_INFERRED] = "inferred",
	};

	return names[certainty];
}
