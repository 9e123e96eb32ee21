/* SPDX-License-Identifier: MIT
 *
 * Takes the facts that the rules judge from the model and the kernel's table: one set per
 * application, destination, pair of addresses that no known program fills, host, and
 * process that holds connections.
 */
#include <stdio.h>

#include "tools/advice/cure.h"
#include "tools/base/print.h"
#include "tools/model/holders.h"
#include "tools/model/traffic.h"

/* What is judged, and what holds for all of it. */
struct view {
	const struct model *model;
	const struct traffic *traffic; /* NULL: not known */
	/* Judge the present: skip what did not happen in the last minute, and report
	 * ports that programs without the shim hold. */
	bool now;
	const struct model_app *binder; /* see struct advice_rivals */
	uint64_t starved;
};

/* Whether connects to the destination found no port although, as far as can still be
 * seen, at most half of its ports were in use, by this program or by others; or although
 * some were free, if none of this program's own connections can have left since. */
static bool is_starved(const struct view *view, const struct model_destination *there)
{
	const struct traffic_pair *pair;
	const uint64_t *value = there->counters.value;
	uint64_t range = there->ports.range;
	uint64_t own = value[TWS_peak_open] + value[TWS_connecting] +
		       there->recent.ending[TWS_END_ABANDONED];

	if (!view->traffic || !there->recent.no_port || !there->address.family)
		return false;
	pair = traffic_find(view->traffic, &there->address);
	return own * 2 < range &&
	       (!pair || pair->used * 2 < range || (!own && pair->used < range));
}

static uint64_t bound_by(const struct model_app *app)
{
	const struct model_recent *recent = &app->recent;

	return recent->early_bind + recent->open_early_bind + advice_rings_inside(recent);
}

/* The fullest pool of which no other application holds more. If binds of this one failed,
 * it may have none: then the fullest of all. */
static const struct traffic_pool *find_pool(const struct view *view, uint32_t app)
{
	const struct traffic *traffic = view->traffic;

	for (size_t i = 0; traffic && i < traffic->pool_count; i++)
		if (traffic->pools[i].app == app)
			return &traffic->pools[i];
	return traffic && traffic->pool_count && view->model->apps[app].recent.bind_failed
		   ? &traffic->pools[0]
		   : NULL;
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

/* Reports a full pair to the application that holds most of its ports. If no application
 * in view does, all that connect there get the report. */
static void set_pair(struct advice_ports *ports, const struct view *view, uint32_t app,
		     const struct tws_address *to)
{
	const struct model_app *apps = view->model->apps;
	const struct traffic_pair *pair = traffic_find(view->traffic, to);
	bool foreign = pair && (pair->app == MODEL_NOBODY || apps[pair->app].hidden);

	ports->there = pair;
	ports->pair_is_ours = pair && pair->app == app;
	ports->pair = pair && (pair->app == app || (foreign && !view->now)) ? pair : NULL;
	if (pair && !ports->pair)
		ports->fill.used = 0;
}

static void set_destination(struct advice_facts *facts, const struct view *view,
			    uint32_t app, const struct model_destination *destination)
{
	facts->client.counters = &destination->counters;
	facts->client.time_wait = destination->time_wait;
	facts->client.recent = view->now ? &destination->recent : NULL;
	facts->client.lately = &destination->recent;
	facts->ports.fill = destination->ports;
	facts->ports.is_starved = is_starved(view, destination);
	if (view->traffic)
		set_pair(&facts->ports, view, app, &destination->address);
}

static struct advice_client client_of(const struct view *view,
				      const struct model_app *app)
{
	return (struct advice_client){
	    .of = app,
	    .counters = &app->counters,
	    .time_wait = app->time_wait,
	    .processes = app->processes,
	    .short_lived_ms = app->short_lived_ms,
	    .recent = view->now ? &app->recent : NULL,
	    .lately = &app->recent,
	};
}

static int judge_app(struct advice *advice, const struct view *view, uint32_t index)
{
	const struct model_app *app = &view->model->apps[index];
	const struct model_app *binder = view->binder;
	char name[64], binder_name[64], binder_who[ADVICE_WHO_SIZE];
	char to[PRINT_ADDRESS_SIZE];
	struct advice_facts facts = {
	    .client = client_of(view, app),
	    .rivals = {.starved = view->starved},
	    .ports = {.pool = find_pool(view, index)},
	    .host = {.traffic = view->traffic},
	};
	int result;

	facts.client.app = print_escape(name, sizeof(name), app->name);
	if (binder) {
		facts.rivals.binder =
		    print_escape(binder_name, sizeof(binder_name), binder->name);
		facts.rivals.binder_who = advice_who_is(binder_who, binder);
		facts.rivals.binder_rings =
		    advice_rings_inside(&binder->recent) >
		    binder->recent.early_bind + binder->recent.open_early_bind;
	}
	result = advice_examine(advice, ADVICE_APP, &facts);
	for (uint32_t i = 0; result == 0 && i < app->destination_count; i++) {
		facts.client.to = print_address(to, &app->destinations[i].address);
		set_destination(&facts, view, index, &app->destinations[i]);
		result = advice_examine(advice, ADVICE_DESTINATION, &facts);
	}
	return result;
}

static int judge_apps(struct advice *advice, struct view *view)
{
	int result = 0;

	find_binder(view);
	for (uint32_t i = 0; result == 0 && i < view->model->order_count; i++)
		result = judge_app(advice, view, view->model->order[i]);
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
		result = judge_apps(&advice, &view);
	traffic_free(&traffic);
	advice_sort(&advice);
	*ret_advice = advice;
	return result;
}

/* Nothing counted the connections of programs without the shim, but the kernel shows
 * which ports they hold. */
static int judge_unowned(struct advice *advice, const struct traffic *traffic)
{
	static const struct tws_counters none;
	char to[PRINT_ADDRESS_SIZE];
	struct advice_facts facts = {
	    .client = {.app = "programs not running under twshim", .counters = &none},
	    .ports = {.pair_is_ours = true},
	    .host = {.traffic = traffic},
	};
	int result = 0;

	for (size_t i = 0; result == 0 && i < traffic->pair_count; i++) {
		facts.ports.pair = &traffic->pairs[i];
		if (facts.ports.pair->app != MODEL_NOBODY)
			continue;
		facts.client.to = print_address(to, &facts.ports.pair->to);
		facts.ports.fill.used = facts.ports.pair->used;
		facts.ports.fill.range = facts.ports.pair->range;
		result = advice_examine(advice, ADVICE_DESTINATION, &facts);
	}
	return result;
}

static int judge_holders(struct advice *advice, const struct holders *holders)
{
	struct advice_facts facts = {.holding = {.holders = holders}};
	int result = 0;

	for (size_t i = 0; result == 0 && i < holders->count; i++) {
		facts.holding.holder = &holders->list[i];
		facts.client.app =
		    facts.holding.holder->pid ? facts.holding.holder->name : NULL;
		result = advice_examine(advice, ADVICE_HOLDER, &facts);
	}
	return result;
}

int advice_of_host(struct advice *advice, const struct model *model,
		   const struct host *host, const struct traffic *traffic,
		   const struct holders *holders)
{
	struct advice_facts facts = {
	    .host = {.settings = host, .traffic = traffic},
	    .holding = {.holders = holders},
	};
	struct view view = {.model = model, .traffic = traffic, .now = traffic != NULL};
	int result = judge_apps(advice, &view);

	if (result == 0 && host)
		result = advice_examine(advice, ADVICE_HOST, &facts);
	if (result == 0 && host && traffic)
		result = judge_unowned(advice, traffic);
	if (result == 0 && holders)
		result = judge_holders(advice, holders);
	return result;
}
