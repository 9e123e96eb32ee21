/* SPDX-License-Identifier: MIT
 *
 * The arithmetic of ledger.h.
 */
#include "tools/metrics/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"

/* By how much a reading may lag behind the one before without meaning that data was lost:
 * snapshots of running processes are only this exact. */
#define TORN_SHARE 100
#define TORN_LEAST 100

/* Sums wrap, because the file may contain anything. */
void ledger_note(struct ledger_line *line, uint64_t raw)
{
	int64_t value = (int64_t)(raw + (uint64_t)line->offset);

	if (value > 0 && (uint64_t)value > line->shown)
		line->shown = (uint64_t)value;
}

/* From now on `raw` corresponds to what has been shown. */
static void rebase(struct ledger_line *line, uint64_t raw)
{
	line->offset = (int64_t)(line->shown - raw);
}

/* Hides this much of `raw`. */
static void rebase_by(struct ledger_line *line, uint64_t raw)
{
	line->offset = (int64_t)((uint64_t)line->offset - raw);
}

static bool has_vanished(uint64_t before, uint64_t now)
{
	return now + TORN_LEAST + before / TORN_SHARE < before;
}

static void note_counters(struct ledger_line *lines, const struct tws_counters *counters,
			  bool vanished)
{
	for (unsigned i = 0; i < TWS_COUNTERS; i++) {
		if (vanished)
			rebase(&lines[i], counters->value[i]);
		ledger_note(&lines[i], counters->value[i]);
	}
}

static void note_histogram(struct ledger_histogram *shown,
			   const struct tws_histogram *histogram, bool vanished)
{
	for (unsigned i = 0; i < TWS_BUCKETS; i++) {
		if (vanished)
			rebase(&shown->count[i], histogram->count[i]);
		ledger_note(&shown->count[i], histogram->count[i]);
	}
	if (vanished)
		rebase(&shown->sum, histogram->sum);
	ledger_note(&shown->sum, histogram->sum);
}

/* ----------------------------------------------- applications of one name */

/* A destination's entries in the sorted list, one per application of the same name. */
struct run {
	const struct model_destination *const *first;
	unsigned length;
	uint64_t attempts;
	bool busy; /* in the last minute */
	struct ledger_destination *slot;
};

struct gathering {
	struct ledger_app *app;
	struct tws_counters sum;
	const struct model_destination **list; /* sorted by address */
	size_t list_count, list_room;
	struct run *runs;
	size_t run_count;
	unsigned top;
	time_t now;
};

static void sum_counters(struct tws_counters *sum, const struct tws_counters *one)
{
	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		sum->value[i] += one->value[i];
	for (unsigned h = 0; h < TWS_HISTOGRAMS; h++) {
		for (unsigned i = 0; i < TWS_BUCKETS; i++)
			sum->histogram[h].count[i] += one->histogram[h].count[i];
		sum->histogram[h].sum += one->histogram[h].sum;
	}
}

static int compare_address(const struct tws_address *a, const struct tws_address *b)
{
	return memcmp(a, b, sizeof(*a));
}

static int compare_destinations(const void *a, const void *b)
{
	const struct model_destination *const *x = a, *const *y = b;

	return compare_address(&(*x)->address, &(*y)->address);
}

static int gather_app(struct gathering *gathering, const struct model_app *app)
{
	size_t wanted = gathering->list_count + app->destination_count;
	const struct model_destination **grown;

	if (wanted > gathering->list_room) {
		grown = reallocarray(gathering->list, wanted, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		gathering->list = grown;
		gathering->list_room = wanted;
	}
	for (uint32_t i = 0; i < app->destination_count; i++)
		gathering->list[gathering->list_count++] = &app->destinations[i];
	sum_counters(&gathering->sum, &app->counters);
	gathering->app->open += app->counters.value[TWS_open];
	gathering->app->time_wait += app->time_wait.confirmed;
	gathering->app->processes += app->processes;
	gathering->app->alive += app->alive;
	return 0;
}

static bool is_busy(const struct model_destination *destination)
{
	return destination->counters.value[TWS_open] ||
	       destination->time_wait.confirmed || destination->recent.ended;
}

static int make_runs(struct gathering *gathering)
{
	const struct model_destination **list = gathering->list;
	struct run *run = NULL;

	gathering->runs = calloc(gathering->list_count + 1, sizeof(*run));
	if (!gathering->runs)
		return -ENOMEM;
	if (gathering->list_count)
		qsort(list, gathering->list_count, sizeof(*list), compare_destinations);
	for (size_t i = 0; i < gathering->list_count; i++) {
		if (!list[i]->address.family)
			continue;
		if (!run || compare_address(&run->first[0]->address, &list[i]->address)) {
			run = &gathering->runs[gathering->run_count++];
			run->first = &list[i];
		}
		run->length++;
		run->attempts += list[i]->counters.value[TWS_attempts];
		run->busy |= is_busy(list[i]);
	}
	return 0;
}

static struct run *find_run(const struct gathering *gathering,
			    const struct tws_address *to)
{
	size_t low = 0, high = gathering->run_count, middle;
	int order;

	while (low < high) {
		middle = low + (high - low) / 2;
		order = compare_address(to, &gathering->runs[middle].first[0]->address);
		if (order == 0)
			return &gathering->runs[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* ------------------------------------------------------------- destinations */

static void note_slot(struct gathering *gathering, struct ledger_destination *slot,
		      const struct run *run)
{
	struct tws_counters sum = {0};

	slot->open = slot->time_wait = 0;
	for (unsigned i = 0; run && i < run->length; i++) {
		sum_counters(&sum, &run->first[i]->counters);
		slot->open += run->first[i]->counters.value[TWS_open];
		slot->time_wait += run->first[i]->time_wait.confirmed;
	}
	if (sum.value[TWS_attempts] != slot->attempts || slot->open)
		slot->changed = gathering->now;
	note_counters(slot->lines, &sum,
		      has_vanished(slot->attempts, sum.value[TWS_attempts]));
	slot->attempts = sum.value[TWS_attempts];
}

/* What it did while it had no series of its own stays in `other`. */
static void begin_slot(struct gathering *gathering, struct ledger_destination *slot,
		       struct run *run)
{
	*slot = (struct ledger_destination){.to = run->first[0]->address,
					    .attempts = run->attempts};
	run->slot = slot;
	for (unsigned i = 0; gathering->app->full && i < run->length; i++)
		for (unsigned j = 0; j < TWS_COUNTERS; j++)
			rebase_by(&slot->lines[j], run->first[i]->counters.value[j]);
	note_slot(gathering, slot, run);
	slot->changed = gathering->now;
}

static int compare_attempts(const void *a, const void *b)
{
	const struct run *const *x = a, *const *y = b;

	if ((*x)->attempts != (*y)->attempts)
		return (*x)->attempts < (*y)->attempts ? 1 : -1;
	return *x < *y ? -1 : *x > *y;
}

static struct ledger_destination *idle_slot(const struct gathering *gathering)
{
	struct ledger_app *app = gathering->app;

	for (unsigned i = 0; i < app->count; i++)
		if (app->destinations[i].changed + LEDGER_IDLE_S < gathering->now)
			return &app->destinations[i];
	return NULL;
}

static void retire(struct ledger_app *app, const struct ledger_destination *slot)
{
	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		app->retired[i] += slot->lines[i].shown;
}

/* If fewer series are wanted than there are, those with the fewest attempts go. */
static void shrink(struct ledger_app *app, unsigned top)
{
	unsigned least;

	while (app->count > top) {
		least = 0;
		for (unsigned i = 1; i < app->count; i++)
			if (app->destinations[i].attempts <
			    app->destinations[least].attempts)
				least = i;
		retire(app, &app->destinations[least]);
		app->destinations[least] = app->destinations[--app->count];
	}
}

/* Returns a free place for one more destination. If there is none, an idle destination
 * gives up its place, but only to a busy one: otherwise idle ones would take turns. */
static struct ledger_destination *free_slot(struct gathering *gathering, bool busy,
					    bool *ret_left_out)
{
	struct ledger_app *app = gathering->app;
	struct ledger_destination *slot;

	if (app->count < gathering->top)
		return &app->destinations[app->count++];
	*ret_left_out = true;
	slot = busy ? idle_slot(gathering) : NULL;
	if (slot)
		retire(app, slot);
	return slot;
}

/* Gives series to the busiest destinations that have none. One that gave up its place may
 * be left to `other` as well. */
static int fill_slots(struct gathering *gathering)
{
	struct run **waiting = calloc(gathering->run_count + 1, sizeof(struct run *));
	struct ledger_destination *slot;
	size_t count = 0, i;
	bool left_out = false;

	if (!waiting)
		return -ENOMEM;
	for (i = 0; i < gathering->run_count; i++)
		if (!gathering->runs[i].slot && gathering->runs[i].attempts)
			waiting[count++] = &gathering->runs[i];
	qsort(waiting, count, sizeof(struct run *), compare_attempts);
	for (i = 0; i < count; i++) {
		slot = free_slot(gathering, waiting[i]->busy, &left_out);
		if (slot)
			begin_slot(gathering, slot, waiting[i]);
	}
	gathering->app->full = left_out;
	free(waiting);
	return 0;
}

static int note_destinations(struct gathering *gathering)
{
	struct ledger_app *app = gathering->app;
	struct ledger_destination *grown =
	    reallocarray(app->destinations, LEDGER_DESTINATIONS, sizeof(*grown));
	struct run *run;

	if (!grown || make_runs(gathering) != 0) {
		app->destinations = grown ? grown : app->destinations;
		return -ENOMEM;
	}
	app->destinations = grown;
	shrink(app, gathering->top);
	for (unsigned i = 0; i < app->count; i++) {
		run = find_run(gathering, &app->destinations[i].to);
		note_slot(gathering, &app->destinations[i], run);
		if (run)
			run->slot = &app->destinations[i];
	}
	return fill_slots(gathering);
}

/* The rest is the total minus its parts. */
static void note_other(struct ledger_app *app)
{
	uint64_t parts;

	for (unsigned i = 0; i < TWS_COUNTERS; i++) {
		parts = app->retired[i];
		for (unsigned j = 0; j < app->count; j++)
			parts += app->destinations[j].lines[i].shown;
		if (app->lines[i].shown > parts &&
		    app->lines[i].shown - parts > app->other[i])
			app->other[i] = app->lines[i].shown - parts;
	}
}

static int note_app(struct gathering *gathering)
{
	struct ledger_app *app = gathering->app;
	uint64_t attempts = gathering->sum.value[TWS_attempts];
	bool vanished = has_vanished(app->attempts, attempts);
	int result;

	app->attempts = attempts;
	if (gathering->list_count)
		app->seen = gathering->now;
	note_counters(app->lines, &gathering->sum, vanished);
	for (unsigned h = 0; h < TWS_HISTOGRAMS; h++)
		note_histogram(&app->histograms[h], &gathering->sum.histogram[h],
			       vanished);
	result = note_destinations(gathering);
	note_other(app);
	return result;
}

/* ------------------------------------------------------------------- the whole */

static struct ledger_app *find_ledger_app(const struct ledger *ledger, const char *name)
{
	for (unsigned i = 0; i < ledger->count; i++)
		if (strncmp(ledger->apps[i]->name, name,
			    sizeof(ledger->apps[i]->name) - 1) == 0)
			return ledger->apps[i];
	return NULL;
}

/* Finds the application or adds it. Returns 0 with NULL if there are too many; that is
 * counted as dropped. */
static int find_or_add_app(struct ledger *ledger, const char *name,
			   struct ledger_app **ret_app)
{
	struct ledger_app **grown;

	*ret_app = find_ledger_app(ledger, name);
	if (!*ret_app && ledger->count == LEDGER_APPS)
		ledger->dropped++;
	if (*ret_app || ledger->count == LEDGER_APPS)
		return 0;
	grown = array_grow(ledger->apps, ledger->count, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	ledger->apps = grown;
	*ret_app = calloc(1, sizeof(**ret_app));
	if (!*ret_app)
		return -ENOMEM;
	strncpy((*ret_app)->name, name, sizeof((*ret_app)->name) - 1);
	ledger->apps[ledger->count++] = *ret_app;
	return 0;
}

static void drop_gone(struct ledger *ledger, time_t now)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < ledger->count; i++) {
		if (ledger->apps[i]->seen + LEDGER_GONE_S < now) {
			free(ledger->apps[i]->destinations);
			free(ledger->apps[i]);
		} else {
			ledger->apps[kept++] = ledger->apps[i];
		}
	}
	ledger->count = kept;
}

static int update_app(struct ledger_app *app, const struct model *model, unsigned top,
		      time_t now)
{
	struct gathering gathering = {.app = app, .top = top, .now = now};
	int result = 0;

	app->open = app->time_wait = app->processes = app->alive = 0;
	for (uint32_t i = 0; result == 0 && i < model->app_count; i++)
		if (!model->apps[i].hidden &&
		    strncmp(model->apps[i].name, app->name, sizeof(app->name) - 1) == 0)
			result = gather_app(&gathering, &model->apps[i]);
	if (result == 0)
		result = note_app(&gathering);
	free(gathering.list);
	free(gathering.runs);
	return result;
}

int ledger_update(struct ledger *ledger, const struct model *model, unsigned top,
		  time_t now)
{
	struct ledger_app *app;
	int result = 0;

	if (top > LEDGER_DESTINATIONS)
		top = LEDGER_DESTINATIONS;
	for (uint32_t i = 0; result == 0 && i < model->order_count; i++)
		result = find_or_add_app(ledger, model->apps[model->order[i]].name, &app);
	for (unsigned i = 0; result == 0 && i < ledger->count; i++)
		result = update_app(ledger->apps[i], model, top, now);
	ledger_note_units(ledger, model);
	drop_gone(ledger, now);
	return result;
}

void ledger_free(struct ledger *ledger)
{
	for (unsigned i = 0; i < ledger->count; i++) {
		free(ledger->apps[i]->destinations);
		free(ledger->apps[i]);
	}
	free(ledger->apps);
	*ledger = (struct ledger){0};
}
