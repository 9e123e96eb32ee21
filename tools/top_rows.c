/* SPDX-License-Identifier: MIT
 *
 * Rows out of a model, each with its past.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "tools/join.h"
#include "tools/print.h"
#include "tools/top.h"

#define FORGET_S 120 /* the past of what is no row any more */

const char *const top_mode_names[TOP_MODES] = {"application", "process", "destination"};
const char *const top_sort_names[TOP_SORTS] = {"time-wait", "rate",  "open",
					       "opened",    "ports", "name"};

struct top_past {
	uint64_t key;
	uint64_t opened;
	double looked;
	float history[TOP_HISTORY];
};

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ------------------------------------------------------------------------ rows */

static void fill(struct top_row *row, const struct model_app *app,
		 const struct tws_counters *counters)
{
	print_escape(row->app, sizeof(row->app), app->name);
	print_escape(row->exe, sizeof(row->exe), app->exe);
	row->opened = counters->value[TWS_established];
	row->open = counters->value[TWS_open];
	row->ended = join_ended(counters);
	row->short_lived = counters->value[TWS_short_lived];
	row->local_fin = counters->value[TWS_ended_local_fin];
}

static void fullest(struct top_row *row, const struct model_ports *ports)
{
	if (ports->used < row->ports_used)
		return;
	row->ports_used = ports->used;
	row->ports_range = ports->range;
}

static struct top_row app_row(const struct model_app *app)
{
	struct top_row row = {.time_wait = app->time_wait.confirmed,
			      .dead = app->processes && !app->alive};

	fill(&row, app, &app->counters);
	for (uint32_t i = 0; i < app->destination_count; i++)
		fullest(&row, &app->destinations[i].ports);
	return row;
}

static struct top_row process_row(const struct model *model,
				  const struct model_process *process)
{
	struct top_row row = {.pid = process->pid,
			      .dead = process->life == PROCESS_DEAD,
			      .time_wait = process->time_wait};

	fill(&row, &model->apps[process->app], &process->counters);
	return row;
}

static struct top_row destination_row(const struct model_app *app,
				      const struct model_destination *destination)
{
	struct top_row row = {.time_wait = destination->time_wait.confirmed};

	fill(&row, app, &destination->counters);
	fullest(&row, &destination->ports);
	print_address(row.to, &destination->address);
	return row;
}

/* ------------------------------------------------------------------------- past */

static uint64_t hash(uint64_t key, const char *text)
{
	for (; *text; text++)
		key = (key ^ (uint8_t)*text) * 1099511628211ull;
	return key;
}

static uint64_t key_of(const struct top_row *row)
{
	return hash(hash(14695981039346656037ull + (uint64_t)row->pid, row->exe),
		    row->to);
}

/* NULL: out of memory. */
static struct top_past *past_of(struct top *top, const struct top_row *row, bool *ret_new)
{
	uint64_t key = key_of(row);
	struct top_past *grown;
	size_t room;

	*ret_new = false;
	for (size_t i = 0; i < top->past_count; i++)
		if (top->past[i].key == key)
			return &top->past[i];
	if (top->past_count == top->past_room) {
		room = top->past_room ? top->past_room * 2 : 64;
		grown = reallocarray(top->past, room, sizeof(*grown));
		if (!grown)
			return NULL;
		top->past = grown;
		top->past_room = room;
	}
	*ret_new = true;
	top->past[top->past_count] = (struct top_past){.key = key};
	return &top->past[top->past_count++];
}

static int note_past(struct top *top, struct top_row *row, double now)
{
	bool new;
	struct top_past *past = past_of(top, row, &new);

	if (!past)
		return -ENOMEM;
	row->rate = -1;
	if (!new &&now > past->looked) {
		row->rate =
		    row->opened > past->opened
			? (double)(row->opened - past->opened) / (now - past->looked)
			: 0;
		memmove(past->history, past->history + 1,
			(TOP_HISTORY - 1) * sizeof(*past->history));
		past->history[TOP_HISTORY - 1] = (float)row->rate;
	}
	past->opened = row->opened;
	past->looked = now;
	memcpy(row->history, past->history, sizeof(row->history));
	return 0;
}

static void forget(struct top *top, double now)
{
	size_t kept = 0;

	for (size_t i = 0; i < top->past_count; i++)
		if (now - top->past[i].looked < FORGET_S)
			top->past[kept++] = top->past[i];
	top->past_count = kept;
}

/* -------------------------------------------------------------------- together */

static bool is_wanted(const struct top_row *row, const struct top_view *view)
{
	if (*view->within && strcmp(view->within, row->exe) != 0)
		return false;
	return !*view->filter || strcasestr(row->app, view->filter) ||
	       strcasestr(row->to, view->filter);
}

static int add(struct top *top, const struct top_view *view, struct top_row row,
	       double now)
{
	if (note_past(top, &row, now) != 0)
		return -ENOMEM;
	if (is_wanted(&row, view) && (row.opened || row.pid))
		top->rows[top->count++] = row;
	return 0;
}

static size_t most_rows(const struct model *model)
{
	size_t most = model->app_count + model->process_count + 1;

	for (uint32_t i = 0; i < model->app_count; i++)
		most += model->apps[i].destination_count;
	return most;
}

static int add_all(struct top *top, const struct top_view *view,
		   const struct model *model, double now)
{
	const struct model_app *app;
	int result = 0;

	if (view->mode == TOP_PROCESSES)
		for (uint32_t i = 0; result == 0 && i < model->process_count; i++)
			result =
			    add(top, view, process_row(model, &model->processes[i]), now);
	for (uint32_t i = 0; view->mode == TOP_APPS && i < model->app_count; i++)
		result |= add(top, view, app_row(&model->apps[i]), now);
	for (uint32_t i = 0; view->mode == TOP_DESTINATIONS && i < model->app_count;
	     i++) {
		app = &model->apps[i];
		for (uint32_t j = 0; j < app->destination_count; j++)
			result |= add(top, view,
				      destination_row(app, &app->destinations[j]), now);
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

static int compare(const void *a, const void *b, void *data)
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

static int take(struct top *top, const struct top_view *view, const struct model *model)
{
	double now = now_s();
	int result;

	free(top->rows);
	top->count = 0;
	top->rows = calloc(most_rows(model), sizeof(*top->rows));
	if (!top->rows)
		return -ENOMEM;
	if (top->past_mode != view->mode)
		top->past_count = 0;
	top->past_mode = view->mode;
	result = add_all(top, view, model, now);
	forget(top, now);
	qsort_r(top->rows, top->count, sizeof(*top->rows), compare, (void *)view);
	top->looked = now;
	top->has_table = model->has_table;
	top->time_wait = model->kernel.time_wait;
	top->owned = model->kernel.owned;
	top->opened = model->total.value[TWS_established];
	top->open = model->total.value[TWS_open];
	print_time(top->time, model->generated);
	print_escape(top->error, sizeof(top->error), model->table_error);
	return result;
}

int top_look(struct top *top, const struct top_view *view)
{
	const struct model_options options = {.dir = top->dir};
	struct model *model = NULL;
	int result = model_build(&model, &options, top->error, sizeof(top->error));

	if (result != 0)
		return result == -ENOMEM ? result : 0;
	result = take(top, view, model);
	model_free(model);
	return result;
}

void top_free(struct top *top)
{
	free(top->rows);
	free(top->past);
	top->rows = NULL;
	top->past = NULL;
}
