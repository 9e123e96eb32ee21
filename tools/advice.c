/* SPDX-License-Identifier: MIT */
#include "tools/advice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/print.h"

static const struct {
	const char *id;
	const char *title;
	enum advice_scope scope;
	advice_rule rule;
} rules[] = {
#define FINDING(id, rule, scope, title) {#id, title, ADVICE_##scope, rule_##rule},
#include "tools/findings.def"
};

static int add(struct advice *advice, const struct advice_finding *finding)
{
	struct advice_finding *findings;
	size_t room = advice->room ? advice->room * 2 : 16;

	if (advice->count == advice->room) {
		findings = reallocarray(advice->findings, room, sizeof(*findings));
		if (!findings)
			return -ENOMEM;
		advice->findings = findings;
		advice->room = room;
	}
	advice->findings[advice->count++] = *finding;
	return 0;
}

int advice_examine(struct advice *advice, enum advice_scope scope,
		   const struct advice_facts *facts)
{
	struct advice_finding finding;
	int result = 0;

	for (size_t i = 0; result == 0 && i < sizeof(rules) / sizeof(*rules); i++) {
		if (rules[i].scope != scope)
			continue;
		finding =
		    (struct advice_finding){.id = rules[i].id, .title = rules[i].title};
		rules[i].rule(facts, &finding);
		if (finding.verdict == VERDICT_OK)
			continue;
		snprintf(finding.app, sizeof(finding.app), "%s", facts->app);
		snprintf(finding.to, sizeof(finding.to), "%s",
			 facts->to ? facts->to : "");
		result = add(advice, &finding);
	}
	return result;
}

static int examine_app(struct advice *advice, const struct model_app *app)
{
	const struct model_destination *destination;
	char name[64], to[PRINT_ADDRESS_SIZE];
	struct advice_facts facts = {
	    .app = print_escape(name, sizeof(name), app->name),
	    .counters = &app->counters,
	    .time_wait = app->time_wait,
	    .processes = app->processes,
	    .short_lived_ms = app->short_lived_ms,
	};
	int result = advice_examine(advice, ADVICE_APP, &facts);

	for (uint32_t i = 0; result == 0 && i < app->destination_count; i++) {
		destination = &app->destinations[i];
		facts.to = print_address(to, &destination->address);
		facts.counters = &destination->counters;
		facts.time_wait = destination->time_wait;
		facts.ports = destination->ports;
		result = advice_examine(advice, ADVICE_DESTINATION, &facts);
	}
	return result;
}

int advice_of_model(struct advice *ret_advice, const struct model *model)
{
	struct advice advice = {0};
	int result = 0;

	for (uint32_t i = 0; result == 0 && i < model->order_count; i++)
		result = examine_app(&advice, &model->apps[model->order[i]]);
	advice_sort(&advice);
	*ret_advice = advice;
	return result;
}

static int compare(const void *a, const void *b)
{
	const struct advice_finding *x = a, *y = b;
	int result;

	if (x->verdict != y->verdict)
		return x->verdict < y->verdict ? 1 : -1;
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
		      compare);
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
