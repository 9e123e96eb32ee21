/* SPDX-License-Identifier: MIT */
#include "tools/model/storm.h"

#include <stdio.h>

#include "tools/base/json.h"
#include "tools/base/print.h"
#include "tools/kernel/process_names.h"

#define PERIOD_NS  10000000000ULL
#define SHORTEST_S 1.0 /* so that a few processes at once are no storm */
#define PROCESSES  5   /* at least as many make a storm */
#define EACH_TIME  3   /* connections per process, at most */

void storm_note(struct model *model, const struct segment *segment, struct model_app *app,
		uint64_t begun)
{
	uint64_t began = segment->header.created_monotonic_ns;

	if (segment->life != PROCESS_DEAD || began > model->table_ns ||
	    model->table_ns - began > PERIOD_NS)
		return;
	if (!app->storm.processes || began < app->storm.since_ns)
		app->storm.since_ns = began;
	app->storm.processes++;
	app->storm.connections += begun;
}

/* Early ones may have been folded already, so the time counts from the first that is
 * known. */
double storm_rate(const struct model *model, const struct model_app *app)
{
	double seconds = (double)(model->table_ns - app->storm.since_ns) / 1e9;

	if (app->storm.processes < PROCESSES ||
	    app->storm.connections > EACH_TIME * app->storm.processes)
		return 0;
	return (double)app->storm.connections /
	       (seconds < SHORTEST_S ? SHORTEST_S : seconds);
}

static const struct model_process *last_of(const struct model *model,
					   const struct model_app *app)
{
	return app->latest == MODEL_NOBODY ? NULL : &model->processes[app->latest];
}

const char *storm_describe(const struct model *model, const struct model_app *app,
			   char *buffer, size_t size)
{
	const struct model_process *last = last_of(model, app);
	char name[256], safe[256], parent[256], safe_parent[256];
	double rate = storm_rate(model, app);
	int length;

	if (rate <= 0)
		return NULL;
	print_escape(safe, sizeof(safe), app->name);
	length = snprintf(buffer, size, "%s, %.*f/s, a new process each time", safe,
			  rate < 10, rate);
	if (!last || !last->parent || length < 0 || (size_t)length >= size)
		return buffer;
	snprintf(name, sizeof(name), ", started by process %d", (int)last->parent);
	if (last->is_here && process_app(last->parent, parent, sizeof(parent)))
		snprintf(name, sizeof(name), ", started by %.200s (%d)",
			 print_escape(safe_parent, sizeof(safe_parent), parent),
			 (int)last->parent);
	snprintf(buffer + length, size - (size_t)length, "%s", name);
	return buffer;
}

static json_t *storm_json(const struct model *model, const struct model_app *app)
{
	const struct model_process *last = last_of(model, app);
	char parent[256];
	bool known = last && last->is_here && last->parent &&
		     process_app(last->parent, parent, sizeof(parent));

	return json_pack("{s:o, s:f, s:o, s:o}", "app", print_json_text(app->name),
			 "rate", storm_rate(model, app), "processes",
			 json_count(app->storm.processes), "started_by",
			 last && last->parent
			     ? json_pack("{s:i, s:o}", "pid", (int)last->parent, "app",
					 known ? print_json_text(parent) : json_null())
			     : json_null());
}

json_t *storm_list_json(const struct model *model)
{
	json_t *array = json_array();

	for (uint32_t i = 0; array && i < model->order_count; i++)
		if (storm_rate(model, &model->apps[model->order[i]]) > 0 &&
		    json_array_append_new(
			array, storm_json(model, &model->apps[model->order[i]])) != 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}
