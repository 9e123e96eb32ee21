/* SPDX-License-Identifier: MIT */
#include "tools/advice/rule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/model/holders.h"
#include "tools/kernel/host.h"
#include "tools/base/print.h"
#include "tools/model/traffic.h"

static const advice_rule rules[] = {
#define FINDING(id, rule, scope, title, background, sources) rule_##rule,
#include "tools/advice/findings.def"
};

#define TIME_WAIT_BYTES 256  /* Linux 6.18, /proc/slabinfo */
#define SLICE_LEAST	1000 /* ports that make a ring worth having */
#define SLICE		10000

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

static int examine(struct advice *advice, size_t index, const struct advice_facts *facts)
{
	const struct advice_explanation *about = &advice_explanations[index];
	bool by_app = about->scope == ADVICE_DESTINATION || about->scope == ADVICE_APP;
	struct advice_finding finding = {
	    .id = about->id,
	    .title = about->title,
	    .certainty = by_app ? CERTAINTY_COUNTED : CERTAINTY_READ,
	};

	rules[index](facts, &finding);
	if (finding.verdict == VERDICT_OK && !(advice->keep_ok && *finding.evidence))
		return 0;
	if (facts->app && !*finding.app)
		snprintf(finding.app, sizeof(finding.app), "%s", facts->app);
	if (facts->to && !*finding.to)
		snprintf(finding.to, sizeof(finding.to), "%s", facts->to);
	return add(advice, &finding);
}

int advice_examine(struct advice *advice, enum advice_scope scope,
		   const struct advice_facts *facts)
{
	int result = 0;

	for (size_t i = 0; result == 0 && i < COUNT; i++)
		if (advice_explanations[i].scope == scope)
			result = examine(advice, i, facts);
	return result;
}

/* What is looked at, and as of when; and what holds for all of it. */
struct view {
	const struct model *model;
	const struct traffic *traffic; /* NULL: not known */
	bool now; /* what is over is passed over, and unowned sockets have a voice */
	const struct model_app *binder; /* see struct advice_facts */
	uint64_t starved;
};

/* Whether the destination's connects failed for want of a port while no half of its ports
 * was gone, as far as that can still be seen. */
static bool is_starved(const struct view *view, const struct model_destination *there)
{
	const struct traffic_pair *pair;
	uint64_t range = there->ports.range;

	if (!view->traffic || !there->recent.no_port || !there->address.family)
		return false;
	pair = traffic_find(view->traffic, &there->address);
	return there->counters.value[TWS_peak_open] * 2 < range &&
	       (!pair || pair->used * 2 < range);
}

static uint64_t bound_by(const struct model_app *app)
{
	return app->recent.early_bind + app->recent.port_ring;
}

static void find_binder(struct view *view)
{
	const struct model *model = view->model;
	const struct model_app *app;

	for (uint32_t i = 0; i < model->app_count; i++) {
		app = &model->apps[i];
		if (bound_by(app) >= MANY &&
		    (!view->binder || bound_by(app) > bound_by(view->binder)))
			view->binder = app;
		for (uint32_t d = 0; d < app->destination_count; d++)
			if (is_starved(view, &app->destinations[d]))
				view->starved += app->destinations[d].recent.no_port;
	}
}

/* Whoever holds most of the pair hears of it. Where that is nobody who is asked for, all
 * who connect there do. */
static void set_pair(struct advice_facts *facts, const struct view *view, uint32_t app,
		     const struct tws_address *to)
{
	const struct model_app *apps = view->model->apps;
	const struct traffic_pair *pair = traffic_find(view->traffic, to);
	bool foreign = pair && (pair->app == MODEL_NOBODY || apps[pair->app].hidden);

	facts->there = pair;
	facts->crowded = pair && advice_percent(pair->used, pair->range) >= BROWNOUT;
	facts->pair_is_ours = pair && pair->app == app;
	facts->pair = pair && (pair->app == app || (foreign && !view->now)) ? pair : NULL;
	if (pair && !facts->pair)
		facts->ports.used = 0;
}

/* What is known of a destination of the application. */
static void set_destination(struct advice_facts *facts, const struct view *view,
			    uint32_t app, const struct model_destination *destination)
{
	facts->counters = &destination->counters;
	facts->time_wait = destination->time_wait;
	facts->ports = destination->ports;
	facts->recent = view->now ? &destination->recent : NULL;
	facts->lately = &destination->recent;
	facts->is_starved = is_starved(view, destination);
	if (view->traffic)
		set_pair(facts, view, app, &destination->address);
}

static int examine_app(struct advice *advice, const struct view *view, uint32_t index)
{
	const struct model_app *app = &view->model->apps[index];
	const struct model_destination *destination;
	char name[64], binder[64], to[PRINT_ADDRESS_SIZE];
	struct advice_facts facts = {
	    .app = print_escape(name, sizeof(name), app->name),
	    .binder = view->binder
			  ? print_escape(binder, sizeof(binder), view->binder->name)
			  : NULL,
	    .binder_rings = view->binder && view->binder->recent.port_ring >
						view->binder->recent.early_bind,
	    .starved = view->starved,
	    .counters = &app->counters,
	    .time_wait = app->time_wait,
	    .processes = app->processes,
	    .short_lived_ms = app->short_lived_ms,
	    .recent = view->now ? &app->recent : NULL,
	    .traffic = view->traffic,
	};
	int result = advice_examine(advice, ADVICE_APP, &facts);

	for (uint32_t i = 0; result == 0 && i < app->destination_count; i++) {
		destination = &app->destinations[i];
		facts.to = print_address(to, &destination->address);
		set_destination(&facts, view, index, destination);
		result = advice_examine(advice, ADVICE_DESTINATION, &facts);
	}
	return result;
}

static int examine_apps(struct advice *advice, struct view *view)
{
	int result = 0;

	find_binder(view);
	for (uint32_t i = 0; result == 0 && i < view->model->order_count; i++)
		result = examine_app(advice, view, view->model->order[i]);
	return result;
}

int advice_of_model(struct advice *ret_advice, const struct model *model)
{
	struct traffic traffic = {0};
	struct view view = {.model = model};
	struct advice advice = {0};
	int result = 0;

	if (model->has_table && model->ports.count) {
		result = traffic_study(&traffic, model, NULL);
		view.traffic = &traffic;
	}
	if (result == 0)
		result = examine_apps(&advice, &view);
	traffic_free(&traffic);
	advice_sort(&advice);
	*ret_advice = advice;
	return result;
}

/* Ports that programs without the shim fill: no counters, but the pair speaks. */
static int examine_unowned(struct advice *advice, const struct traffic *traffic)
{
	static const struct tws_counters none;
	char to[PRINT_ADDRESS_SIZE];
	struct advice_facts facts = {
	    .app = "programs without the shim",
	    .counters = &none,
	    .traffic = traffic,
	    .pair_is_ours = true,
	};
	int result = 0;

	for (size_t i = 0; result == 0 && i < traffic->pair_count; i++) {
		facts.pair = &traffic->pairs[i];
		if (facts.pair->app != MODEL_NOBODY)
			continue;
		facts.to = print_address(to, &facts.pair->to);
		facts.ports.used = facts.pair->used;
		facts.ports.range = facts.pair->range;
		result = advice_examine(advice, ADVICE_DESTINATION, &facts);
	}
	return result;
}

static int examine_holders(struct advice *advice, const struct holders *holders)
{
	struct advice_facts facts = {.holders = holders};
	int result = 0;

	for (size_t i = 0; result == 0 && i < holders->count; i++) {
		facts.holder = &holders->list[i];
		facts.app = facts.holder->pid ? facts.holder->name : NULL;
		result = advice_examine(advice, ADVICE_HOLDER, &facts);
	}
	return result;
}

int advice_of_host(struct advice *advice, const struct model *model,
		   const struct host *host, const struct traffic *traffic,
		   const struct holders *holders)
{
	struct advice_facts facts = {
	    .host = host,
	    .traffic = traffic,
	    .holders = holders,
	};
	struct view view = {.model = model, .traffic = traffic, .now = traffic != NULL};
	int result = examine_apps(advice, &view);

	if (result == 0 && host)
		result = advice_examine(advice, ADVICE_HOST, &facts);
	if (result == 0 && host && traffic)
		result = examine_unowned(advice, traffic);
	if (result == 0 && holders)
		result = examine_holders(advice, holders);
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

const char *advice_certainty_name(enum advice_certainty certainty)
{
	static const char *const names[] = {
	    [CERTAINTY_COUNTED] = "counted",
	    [CERTAINTY_READ] = "read",
	    [CERTAINTY_INFERRED] = "inferred",
	};

	return names[certainty];
}

/* -------- what the rules share */

const char *advice_number(uint64_t value)
{
	static char buffers[8][PRINT_NUMBER_SIZE];
	static unsigned next;

	return print_number(buffers[next++ % 8], value);
}

uint64_t advice_percent(uint64_t part, uint64_t whole)
{
	return whole ? part * 100 / whole : 0;
}

uint64_t advice_count(const struct advice_facts *facts, enum tws_counter counter)
{
	return facts->counters->value[counter];
}

bool advice_is_over(const struct advice_facts *facts, uint64_t recently, uint64_t least)
{
	return facts->recent && recently < least;
}

uint64_t advice_time_wait_bytes(const struct host *host)
{
	return host_knows(host, HOST_time_wait_bytes)
		   ? host_get(host, HOST_time_wait_bytes)
		   : TIME_WAIT_BYTES;
}

const char *advice_ring_outside(char *text, const struct traffic *traffic)
{
	unsigned low = traffic ? traffic->port_low : 0;
	unsigned high = traffic ? traffic->port_high : 0;

	if (high && high + SLICE_LEAST <= 65535)
		sprintf(text, "%u-65535", high + 1);
	else if (low >= 1024 + SLICE_LEAST)
		sprintf(text, "%u-%u", low > 1024 + SLICE ? low - SLICE : 1024, low - 1);
	else
		strcpy(text, "LOW-HIGH");
	return text;
}

const char *advice_in_one_process(const struct advice_facts *facts)
{
	return facts->processes > 1 ? " in one process" : "";
}

void advice_set(struct advice_finding *finding, enum advice_verdict verdict,
		uint64_t weight)
{
	finding->verdict = verdict;
	finding->weight = weight;
}

enum advice_verdict advice_by_number(uint64_t connections)
{
	return connections >= VERY_MANY ? VERDICT_WARNING : VERDICT_NOTICE;
}
