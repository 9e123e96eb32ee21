/* SPDX-License-Identifier: MIT
 *
 * Builds the model: first the kernel's table, then the segments, so that every TIME_WAIT
 * socket in the table is already in a segment; then the totals.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/shared/clock.h"
#include "tools/kernel/host.h"
#include "shim/shared/slices.h"
#include "tools/model/baseline.h"
#include "tools/model/join.h"
#include "tools/model/model.h"
#include "tools/model/window.h"
#include "tools/segments/cache.h"
#include "tools/segments/rundir.h"

/* A fold that happens while we read makes the reading incomplete. That is rare. */
#define TRIES 5

struct model *model_new(const struct model_options *options)
{
	struct model *model = calloc(1, sizeof(*model));

	if (!model)
		return NULL;
	model->options = *options;
	model->generated = time(NULL);
	window_begin(model);
	if (options->listener)
		model->listener_lost = kernel_listener_lost(options->listener);
	return model;
}

int model_use_table(struct model *model, struct kernel_table *table, uint64_t now_ns,
		    uint64_t net_namespace)
{
	model->owners = calloc(table->count + 1, sizeof(*model->owners));
	if (!model->owners)
		return -ENOMEM;
	for (size_t i = 0; i < table->count; i++) {
		model->owners[i].app = MODEL_NOBODY;
		model->owners[i].process = MODEL_NOBODY;
	}
	model->table = *table;
	*table = (struct kernel_table){0};
	model->table_ns = now_ns;
	model->net_namespace = net_namespace;
	model->has_table = true;
	model_note_listeners(model);
	return 0;
}

void model_note_listeners(struct model *model)
{
	uint16_t port;

	for (size_t i = 0; i < model->table.count; i++) {
		if (model->table.sockets[i].state != TCP_LISTEN)
			continue;
		port = model->table.sockets[i].local.port;
		model->listening[port / 8] |= (uint8_t)(1u << port % 8);
	}
}

bool model_has_listener(const struct model *model, uint16_t port)
{
	return model->listening[port / 8] & 1u << port % 8;
}

bool model_is_incoming(const struct model *model, size_t index)
{
	return model->owners[index].app == MODEL_NOBODY &&
	       model_has_listener(model, model->table.sockets[index].local.port);
}

static void count_owned(struct model *model)
{
	for (size_t i = 0; i < model->table.count; i++) {
		if (model->table.sockets[i].state != TCP_TIME_WAIT)
			continue;
		model->kernel.time_wait++;
		if (model->owners[i].app != MODEL_NOBODY)
			model->kernel.owned++;
		else if (model_is_incoming(model, i))
			model->kernel.incoming++;
		else
			model->kernel.unowned++;
	}
}

struct ranked {
	uint64_t attempts;
	const char *name;
	uint32_t index;
};

static int compare_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->attempts != y->attempts)
		return x->attempts < y->attempts ? 1 : -1;
	if (x->name && strcmp(x->name, y->name) != 0)
		return strcmp(x->name, y->name);
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Returns the indexes of `ranked` in new memory, most attempts first; NULL if out of
 * memory. */
static uint32_t *rank(struct ranked *ranked, uint32_t count)
{
	uint32_t *order = calloc(count + 1, sizeof(*order));

	if (!order)
		return NULL;
	qsort(ranked, count, sizeof(*ranked), compare_ranked);
	for (uint32_t i = 0; i < count; i++)
		order[i] = ranked[i].index;
	return order;
}

static int rank_destinations(struct model_app *app)
{
	struct ranked *ranked = calloc(app->destination_count + 1, sizeof(*ranked));

	for (uint32_t i = 0; ranked && i < app->destination_count; i++) {
		ranked[i].index = i;
		ranked[i].attempts = app->destinations[i].counters.value[TWS_attempts];
	}
	app->order = ranked ? rank(ranked, app->destination_count) : NULL;
	free(ranked);
	return app->order ? 0 : -ENOMEM;
}

static int rank_apps(struct model *model)
{
	struct ranked *ranked = calloc(model->app_count + 1, sizeof(*ranked));
	uint32_t count = 0;

	for (uint32_t i = 0; ranked && i < model->app_count; i++) {
		if (model->apps[i].hidden)
			continue;
		ranked[count].index = i;
		ranked[count].name = model->apps[i].name;
		ranked[count++].attempts = model->apps[i].counters.value[TWS_attempts];
	}
	model->order = ranked ? rank(ranked, count) : NULL;
	model->order_count = count;
	free(ranked);
	return model->order ? 0 : -ENOMEM;
}

int model_finish(struct model *model)
{
	int result = model_count_ports(model);

	count_owned(model);
	model_finish_arms(model);
	for (uint32_t i = 0; result == 0 && i < model->app_count; i++) {
		if (!model->apps[i].hidden) {
			join_add(&model->total, &model->apps[i].counters);
			model_keep_earlier(&model->since_realtime_ns,
					   model->apps[i].since_realtime_ns);
		}
		result = rank_destinations(&model->apps[i]);
	}
	return result == 0 ? rank_apps(model) : result;
}

static int read_kernel(struct model *model)
{
	uint32_t states = model->options.states;
	struct kernel_table table = {0};
	uint64_t now = tws_now();
	int result;

	if (!states)
		states = KERNEL_STATES_ALL;
	model->table_ns = now;
	kernel_ports_read(&model->ports);
	model->time_wait_reuse = kernel_time_wait_reuse();
	if (kernel_table_read(&table, states, model->table_error,
			      sizeof(model->table_error)) != 0)
		return 0;
	result = model_use_table(model, &table, now, kernel_namespace("net"));
	kernel_table_free(&table);
	return result;
}

static int read_directories(struct model *model, const char *path, bool *ret_changed)
{
	const struct model_options *options = &model->options;
	struct reader reader;
	int result = reader_init(&reader);

	reader.cache = options->cache;
	model->pid_namespace = reader.processes.pid_namespace;
	reader.run = options->run;
	if (options->owners_only && !options->cache)
		reader.without = 1u << TWS_SECTION_ENDED;
	if (!model->window.slice && !options->cache)
		reader.without |= 1u << TWS_SECTIONS;
	reader_cache_begin(options->cache);
	if (result == 0 && options->dir)
		result = reader_read(&reader, path, options->only_dir, model_take, model);
	else if (result == 0)
		result = reader_read_everywhere(&reader, path, model_take, model);
	reader_cache_end(options->cache);
	*ret_changed = reader.changed;
	model->skipped = reader.skipped;
	model->skipped_count = reader.skipped_count;
	reader.skipped = NULL;
	reader_free(&reader);
	return result == -ENOENT ? 0 : result;
}

static void read_overflow(struct model *model)
{
	struct host host;

	host_read(&host, NULL);
	model->overflowed = host_get(&host, HOST_tw_overflow);
	model->buckets = host_get(&host, HOST_max_tw_buckets);
}

/* This user's programs may have published elsewhere at the last reset. */
static int find_later_reset(const char *path, void *data)
{
	struct baseline **last = data, *other = baseline_read(path);
	uint64_t realtime_ns;

	if (other && (!*last || baseline_when(other, &realtime_ns) >
				    baseline_when(*last, &realtime_ns))) {
		baseline_free(*last);
		*last = other;
		other = NULL;
	}
	baseline_free(other);
	return 0;
}

/* Where a reset lies within the period, the period begins there. */
static void use_reset(struct model *model, const char *path)
{
	struct baseline *baseline = NULL;
	uint64_t realtime_ns;

	if (model->options.from_reset)
		find_later_reset(path, &baseline);
	if (model->options.from_reset && !model->options.dir)
		tws_rundir_others(find_later_reset, &baseline);
	if (baseline && tws_slice_begins(model->window.slice) >
			    baseline_when(baseline, &realtime_ns)) {
		baseline_free(baseline);
		baseline = NULL;
	}
	model->window.baseline = baseline;
	if (!baseline)
		return;
	baseline_when(baseline, &model->window.since_realtime_ns);
	model->window.slice = 0;
}

static int try_build(struct model **ret_model, const struct model_options *options,
		     const char *path, bool *ret_changed)
{
	struct model *model = model_new(options);
	int result = model ? read_kernel(model) : -ENOMEM;

	if (result == 0)
		use_reset(model, path);
	if (options->keep)
		baseline_clear(options->keep);
	if (result == 0)
		result = read_directories(model, path, ret_changed);
	if (result == 0 && model->window.baseline)
		result = baseline_apply(model->window.baseline, model);
	if (result == 0)
		result = model_finish(model);
	if (result == 0 && model->time_wait.gone_early)
		read_overflow(model);
	if (result == 0)
		*ret_model = model;
	else
		model_free(model);
	return result;
}

int model_build(struct model **ret_model, const struct model_options *options,
		char *ret_error, size_t size)
{
	char found[4096];
	const char *path = options->dir;
	struct model *model = NULL;
	bool changed = true;
	int result = 0;

	if (!path) {
		result = tws_rundir_find(found, sizeof(found));
		path = result == 0 ? found : NULL;
	}
	for (int i = 0; result == 0 && changed && i < TRIES; i++) {
		model_free(model);
		model = NULL;
		result = try_build(&model, options, path, &changed);
	}
	if (result == 0)
		*ret_model = model;
	else if (result == -ENOMEM)
		snprintf(ret_error, size, "%s: %s", path, strerror(ENOMEM));
	else
		tws_rundir_explain(ret_error, size, path, result,
				   options->dir ? "--dir" : "TWSHIM_DIR");
	return result;
}

void model_free(struct model *model)
{
	size_t named;

	if (!model)
		return;
	baseline_free(model->window.baseline);
	for (uint32_t i = 0; i < model->app_count; i++) {
		free(model->apps[i].exe);
		free(model->apps[i].name);
		free(model->apps[i].destinations);
		free(model->apps[i].order);
		cookie_map_free(&model->apps[i].by_address);
	}
	named = model->skipped_count < READER_SKIPPED_MAX ? model->skipped_count
							  : READER_SKIPPED_MAX;
	for (size_t i = 0; model->skipped && i < named; i++)
		free(model->skipped[i].name);
	free(model->skipped);
	free(model->apps);
	free(model->order);
	free(model->processes);
	for (uint32_t i = 0; i < model->arm_count; i++)
		free(model->arms[i].begun_ns);
	free(model->arms);
	free(model->rules);
	free(model->owners);
	cookie_map_free(&model->by_name);
	kernel_table_free(&model->table);
	free(model);
}
