/* SPDX-License-Identifier: MIT
 *
 * Makes rows from a model, each with its history.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "shim/shared/clock.h"
#include "tools/model/join.h"
#include "tools/model/storm.h"
#include "tools/base/print.h"
#include "tools/segments/cache.h"
#include "tools/top/top.h"

#define FORGET_S 120 /* then the history of a row that has gone is dropped */

const char *const top_mode_names[TOP_MODES + 1] = {"application", "process",
						   "destination"};
const char *const top_sort_names[TOP_SORTS + 1] = {"time-wait", "rate",	 "open",
						   "opened",	"ports", "name"};

struct top_past {
	uint64_t key;
	uint32_t next; /* next in the same bucket: an index + 1 */
	uint64_t opened;
	double looked;
	double rate;
	float history[TOP_HISTORY];
};

/* ------------------------------------------------------------------------ rows */

static void fill_row(struct top_row *row, const struct model_app *app,
		     const struct tws_counters *counters)
{
	print_escape(row->app, sizeof(row->app), app->name);
	print_escape(row->exe, sizeof(row->exe), app->exe);
	row->opened = counters->value[TWS_established];
	row->open = counters->value[TWS_open];
	row->ended = join_ended(counters);
	row->short_lived = counters->value[TWS_short_lived];
	row->local_fin = counters->value[TWS_ended_local_fin];
	row->closed_first = join_closed_first(counters);
	row->remote_fin = counters->value[TWS_ended_remote_fin];
	row->resets = join_resets(counters);
	row->failed = join_failed(counters);
	row->counters = counters;
}

static void keep_fullest(struct top_row *row, const struct model_ports *ports)
{
	if (ports->used < row->ports_used)
		return;
	row->ports_used = ports->used;
	row->ports_range = ports->range;
}

static struct top_row app_row(const struct model *model, const struct model_app *app)
{
	struct top_row row = {.time_wait = app->time_wait.confirmed,
			      .storm_rate = storm_rate(model, app),
			      .dead = app->processes && !app->alive};

	/* A storm goes on although none of its processes lives just now. */
	row.dead = row.dead && row.storm_rate <= 0;

	fill_row(&row, app, &app->counters);
	for (uint32_t i = 0; i < app->destination_count; i++)
		keep_fullest(&row, &app->destinations[i].ports);
	return row;
}

static struct top_row process_row(const struct model *model,
				  const struct model_process *process)
{
	struct top_row row = {.pid = process->pid,
			      .start = process->start_time,
			      .dead = process->life == PROCESS_DEAD,
			      .time_wait = process->time_wait};

	fill_row(&row, &model->apps[process->app], &process->counters);
	return row;
}

static struct top_row destination_row(const struct model_app *app,
				      const struct model_destination *destination)
{
	struct top_row row = {.time_wait = destination->time_wait.confirmed};

	fill_row(&row, app, &destination->counters);
	keep_fullest(&row, &destination->ports);
	print_address(row.to, &destination->address);
	return row;
}

/* ------------------------------------------------------------------------- past */

static uint64_t hash_text(uint64_t key, const char *text)
{
	for (; *text; text++)
		key = (key ^ (uint8_t)*text) * 1099511628211ull;
	return key;
}

static uint64_t mix_key(uint64_t key, uint64_t value)
{
	key = (key ^ value) * 0x9e3779b97f4a7c15ull;
	return key ^ key >> 29;
}

/* Mixes each part in separately, because pids and start times grow together. */
static uint64_t key_of(const struct top_row *row, enum top_mode mode)
{
	uint64_t key = mix_key(mix_key(mix_key(1, (uint64_t)row->pid), row->start), mode);

	key = hash_text(mix_key(key, 1), row->app);
	return hash_text(hash_text(mix_key(key, 2), row->exe), row->to);
}

static uint32_t *past_bucket(struct top *top, uint64_t key)
{
	return &top->bucket[(key ^ key >> 32) & (top->bucket_count - 1)];
}

/* There are twice as many buckets as places for histories. */
static int fill_buckets(struct top *top)
{
	size_t count = 2 * top->past_room;
	uint32_t *grown;

	if (top->bucket_count != count) {
		grown = reallocarray(top->bucket, count, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		top->bucket = grown;
		top->bucket_count = count;
	}
	memset(top->bucket, 0, count * sizeof(*top->bucket));
	for (size_t i = 0; i < top->past_count; i++) {
		uint32_t *bucket = past_bucket(top, top->past[i].key);

		top->past[i].next = *bucket;
		*bucket = (uint32_t)i + 1;
	}
	return 0;
}

/* Returns NULL if there is none. */
static struct top_past *find_past(struct top *top, uint64_t key)
{
	uint32_t at = top->bucket_count ? *past_bucket(top, key) : 0;

	while (at && top->past[at - 1].key != key)
		at = top->past[at - 1].next;
	return at ? &top->past[at - 1] : NULL;
}

/* Returns NULL if out of memory. */
static struct top_past *add_past(struct top *top, uint64_t key)
{
	size_t room = top->past_room ? top->past_room * 2 : 64;
	struct top_past *grown;
	uint32_t *bucket;

	if (top->past_count == top->past_room) {
		grown = reallocarray(top->past, room, sizeof(*grown));
		if (!grown)
			return NULL;
		top->past = grown;
		top->past_room = room;
		if (fill_buckets(top) != 0)
			return NULL;
	}
	bucket = past_bucket(top, key);
	top->past[top->past_count] =
	    (struct top_past){.key = key, .next = *bucket, .rate = -1};
	*bucket = (uint32_t)++top->past_count;
	return &top->past[top->past_count - 1];
}

/* The seconds since the last look get its rate; within one second the highest rate stays.
 */
static void note_rate(struct top_past *past, double now)
{
	double passed = floor(now) - floor(past->looked);
	size_t shift = passed < TOP_HISTORY ? (size_t)passed : TOP_HISTORY;
	float rate = (float)past->rate, *last = &past->history[TOP_HISTORY - 1];

	if (shift == 0 && *last < rate)
		*last = rate;
	memmove(past->history, past->history + shift,
		(TOP_HISTORY - shift) * sizeof(rate));
	for (size_t i = TOP_HISTORY - shift; i < TOP_HISTORY; i++)
		past->history[i] = rate;
}

static int note_past(struct top *top, const struct top_row *row, double now)
{
	struct top_past *past = find_past(top, row->key);

	if (!past) {
		past = add_past(top, row->key);
		if (!past)
			return -ENOMEM;
	} else if (now > past->looked) {
		past->rate =
		    row->opened > past->opened
			? (double)(row->opened - past->opened) / (now - past->looked)
			: 0;
		note_rate(past, now);
	}
	past->opened = row->opened;
	past->looked = now;
	return 0;
}

static int forget_past(struct top *top, double now)
{
	size_t kept = 0;

	for (size_t i = 0; i < top->past_count; i++)
		if (now - top->past[i].looked < FORGET_S)
			top->past[kept++] = top->past[i];
	if (kept == top->past_count)
		return 0;
	top->past_count = kept;
	return fill_buckets(top);
}

/* -------------------------------------------------------------------- together */

static bool is_wanted(const struct top_row *row, const struct top_view *view)
{
	if (view->alone)
		return view->alone == row->key;
	if (*view->within && strcmp(view->within, row->app) != 0)
		return false;
	return !*view->filter || strcasestr(row->app, view->filter) ||
	       strcasestr(row->to, view->filter);
}

/* What to do with each row of a mode; any value but 0 ends the walk. */
typedef int (*row_taker)(struct top *top, const struct top_view *view,
			 struct top_row *row);

static int remember_row(struct top *top, const struct top_view *view, struct top_row *row)
{
	return note_past(top, row, top->looked);
}

static int add_top_row(struct top *top, const struct top_view *view, struct top_row *row)
{
	const struct top_past *past = find_past(top, row->key);

	if (!is_wanted(row, view) || (!row->opened && !row->pid))
		return 0;
	row->rate = past ? past->rate : -1;
	if (row->rate < 0 && row->storm_rate > 0)
		row->rate = row->storm_rate;
	if (past)
		memcpy(row->history, past->history, sizeof(row->history));
	top->rows[top->count++] = *row;
	return 0;
}

static size_t most_rows(const struct model *model)
{
	size_t most = model->app_count + model->process_count + 1;

	for (uint32_t i = 0; i < model->app_count; i++)
		most += model->apps[i].destination_count;
	return most;
}

static int hand_over(struct top *top, const struct top_view *view, enum top_mode mode,
		     struct top_row row, row_taker take)
{
	row.key = key_of(&row, mode);
	return take(top, view, &row);
}

static int each_row(struct top *top, const struct top_view *view, enum top_mode mode,
		    row_taker take)
{
	const struct model *model = top->model;
	const struct model_app *app;
	int result = 0;

	for (uint32_t i = 0; mode == TOP_PROCESSES && i < model->process_count; i++)
		result |= hand_over(top, view, mode,
				    process_row(model, &model->processes[i]), take);
	for (uint32_t i = 0; mode == TOP_APPS && i < model->app_count; i++)
		result |=
		    hand_over(top, view, mode, app_row(model, &model->apps[i]), take);
	for (uint32_t i = 0; mode == TOP_DESTINATIONS && i < model->app_count; i++) {
		app = &model->apps[i];
		for (uint32_t j = 0; j < app->destination_count; j++)
			result |=
			    hand_over(top, view, mode,
				      destination_row(app, &app->destinations[j]), take);
	}
	return result ? -ENOMEM : 0;
}

static double measure(const struct top_row *row, enum top_sort sort)
{
	switch (sort) {
	case TOP_BY_RATE:
		return row->rate;
	case TOP_BY_OPEN:
		return (double)row->open;
	case TOP_BY_OPENED:
		return (double)row->opened;
	case TOP_BY_PORTS:
		return row->ports_range ? (double)row->ports_used / row->ports_range : 0;
	case TOP_BY_NAME:
		return 0;
	default:
		return (double)row->time_wait;
	}
}

static int compare_rows(const void *a, const void *b, void *data)
{
	const struct top_row *x = a, *y = b;
	const struct top_view *view = data;
	double left = measure(x, view->sort), right = measure(y, view->sort);
	int order;

	if (left > right || left < right)
		return left > right ? -1 : 1;
	order = strcmp(x->app, y->app);
	if (!order)
		order = strcmp(x->to, y->to);
	return order ? order : x->pid < y->pid ? -1 : x->pid > y->pid;
}

int top_arrange(struct top *top, const struct top_view *view)
{
	struct top_row *rows;

	if (!top->model)
		return 0;
	rows = calloc(most_rows(top->model), sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	free(top->rows);
	top->rows = rows;
	top->count = 0;
	each_row(top, view, view->mode, add_top_row);
	qsort_r(top->rows, top->count, sizeof(*top->rows), compare_rows, (void *)view);
	return 0;
}

static void note_storms(struct top *top, const struct model *model)
{
	size_t used = 0;
	char text[1024];

	*top->storms = '\0';
	for (uint32_t i = 0; i < model->order_count && used < sizeof(top->storms); i++)
		if (storm_describe(model, &model->apps[model->order[i]], text,
				   sizeof(text)))
			used += (size_t)snprintf(
			    top->storms + used, sizeof(top->storms) - used, "%s\n", text);
}

/* The period is fixed when the view begins, so that its numbers only grow. */
static void note_period(struct top *top, const struct model *model)
{
	const time_t began = (time_t)(model->since_realtime_ns / 1000000000u);

	*top->since = '\0';
	if (began)
		print_time(top->since, began);
	top->older = model->window.older;
	top->perhaps_older = model->window.doubtful;
}

static int take_model(struct top *top, const struct top_view *view, struct model *model)
{
	int result = 0;

	model_free(top->model);
	top->model = model;
	top->looked = tws_now_s();
	/* Keep the history of all modes, so that changing the view shows a full minute.
	 */
	for (enum top_mode mode = 0; result == 0 && mode < TOP_MODES; mode++)
		result = each_row(top, view, mode, remember_row);
	if (result == 0)
		result = forget_past(top, top->looked);
	top->has_table = model->has_table;
	top->time_wait = model->kernel.time_wait;
	top->owned = model->kernel.owned;
	top->opened = model->total.value[TWS_established];
	top->open = model->total.value[TWS_open];
	print_time(top->time, model->generated);
	note_period(top, model);
	note_storms(top, model);
	print_escape(top->error, sizeof(top->error), model->table_error);
	return result ? result : top_arrange(top, view);
}

int top_look(struct top *top, const struct top_view *view)
{
	const struct model_options options = {.dir = top->dir,
					      .by = top->by,
					      .cache = top->cache,
					      .since_ns = top->since_ns,
					      .from_reset = true};
	struct model *model = NULL;
	int result = model_build(&model, &options, top->error, sizeof(top->error));

	if (result != 0)
		return result == -ENOMEM ? result : 0;
	return take_model(top, view, model);
}

void top_free(struct top *top)
{
	free(top->rows);
	free(top->past);
	free(top->bucket);
	model_free(top->model);
	reader_cache_free(top->cache);
	*top = (struct top){.dir = top->dir, .by = top->by, .since_ns = top->since_ns};
}
