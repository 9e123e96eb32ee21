/* SPDX-License-Identifier: MIT
 *
 * Makes the series: counters from the ledger, gauges from the model and the kernel. The
 * most important ones are made first, so that the cap cuts off whole destinations and
 * histograms, never parts of one.
 */
#include "tools/metrics/metrics.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"
#include "tools/metrics/parts.h"
#include "tools/base/print.h"

/* Room for two names of which each byte is escaped. */
#define LABELS_SIZE 4096

/* One histogram bucket in this many is shown; there are two per octave. */
#define BUCKET_STEP 4

/* Doubles backslashes, so that escaping cannot make two names equal. */
static void double_backslashes(char *to, size_t size, const char *text)
{
	size_t length = 0;

	for (; *text && length + 2 < size; text++) {
		if (*text == '\\')
			to[length++] = '\\';
		to[length++] = *text;
	}
	to[length] = '\0';
}

const char *metrics_escape(char *buffer, size_t size, const char *text)
{
	char doubled[2 * TWS_EXE_SIZE], safe[4 * TWS_EXE_SIZE];
	size_t length = 0;

	double_backslashes(doubled, sizeof(doubled), text);
	for (const char *at = print_escape(safe, sizeof(safe), doubled);
	     *at && length + 3 < size; at++) {
		if (*at == '\\' || *at == '"')
			buffer[length++] = '\\';
		buffer[length++] = *at;
	}
	buffer[length] = '\0';
	return buffer;
}

/* ---------------------------------------------------------------------- series */

static bool is_capped(const struct metrics *metrics)
{
	return metrics->count >= metrics->limit;
}

static void add_series(struct metrics *metrics, unsigned family,
		       enum metrics_suffix suffix, double value, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static void add_series(struct metrics *metrics, unsigned family,
		       enum metrics_suffix suffix, double value, const char *format, ...)
{
	struct metrics_series *series;
	char labels[LABELS_SIZE];
	va_list arguments;

	if (is_capped(metrics)) {
		metrics->dropped++;
		return;
	}
	series = array_grow(metrics->series, metrics->count, sizeof(*series));
	if (!series) {
		metrics->failed = true;
		return;
	}
	metrics->series = series;
	va_start(arguments, format);
	vsnprintf(labels, sizeof(labels), format, arguments);
	va_end(arguments);
	series = &metrics->series[metrics->count];
	*series = (struct metrics_series){
	    .family = (uint16_t)family, .suffix = suffix, .value = value};
	series->order = (uint32_t)metrics->count;
	series->labels = strdup(labels);
	if (series->labels)
		metrics->count++;
	else
		metrics->failed = true;
}

/* The start of a group of series that is shown completely or not at all. */
struct mark {
	size_t count;
	uint64_t dropped;
};

static struct mark mark_here(const struct metrics *metrics)
{
	return (struct mark){.count = metrics->count, .dropped = metrics->dropped};
}

static void all_or_nothing(struct metrics *metrics, struct mark mark)
{
	if (metrics->dropped == mark.dropped)
		return;
	metrics->dropped += metrics->count - mark.count;
	while (metrics->count > mark.count)
		free(metrics->series[--metrics->count].labels);
}

/* -------------------------------------------------------------------- counters */

static void add_counter(struct metrics *metrics, unsigned counter, const char *labels,
			uint64_t value)
{
	const struct metrics_counter *shown = &metrics->counters[counter];

	if (!*shown->label)
		add_series(metrics, shown->family, METRICS_PLAIN, (double)value, "%s",
			   labels);
	else
		add_series(metrics, shown->family, METRICS_PLAIN, (double)value,
			   "%s,%s=\"%s\"", labels, shown->label, shown->value);
}

/* In a family of names, members that never counted anything are left out, except those
 * that alerts need. Bytes are left out too, because usually they are not counted, and 0
 * would be wrong. */
static bool is_worth_showing(const struct metrics *metrics, unsigned counter,
			     uint64_t value)
{
	if (counter == TWS_bytes_sent || counter == TWS_bytes_received)
		return value > 0;
	if (value || counter == TWS_ended_local_fin || counter == TWS_ended_remote_fin ||
	    counter == TWS_failed_no_port || counter == TWS_ended_unseen)
		return true;
	return !*metrics->counters[counter].label;
}

static bool is_counter(const struct metrics *metrics, unsigned counter, bool destination)
{
	return metrics->counters[counter].family != METRICS_NO_FAMILY &&
	       metrics->counters[counter].by_destination == destination;
}

static void add_app(struct metrics *metrics, const struct ledger_app *app,
		    const char *labels)
{
	add_series(metrics, METRICS_PROCESSES, METRICS_PLAIN, (double)app->alive, "%s",
		   labels);
	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		if (is_counter(metrics, i, false) &&
		    is_worth_showing(metrics, i, app->lines[i].shown))
			add_counter(metrics, i, labels, app->lines[i].shown);
}

/* Takes the values of a destination from its lines; those of the rest from `values`. */
static void add_destination(struct metrics *metrics, const char *app, const char *to,
			    const struct ledger_line *lines, const uint64_t *values)
{
	char labels[LABELS_SIZE];
	uint64_t value;

	snprintf(labels, sizeof(labels), "%s,to=\"%s\"", app, to);
	for (unsigned i = 0; i < TWS_COUNTERS; i++) {
		value = lines ? lines[i].shown : values ? values[i] : 0;
		if (is_counter(metrics, i, true) && is_worth_showing(metrics, i, value))
			add_counter(metrics, i, labels, value);
	}
}

static void add_gauges(struct metrics *metrics, const char *app, const char *to,
		       uint64_t open, uint64_t time_wait)
{
	add_series(metrics, METRICS_OPEN, METRICS_PLAIN, (double)open, "%s,to=\"%s\"",
		   app, to);
	if (metrics->has_table)
		add_series(metrics, METRICS_TIME_WAIT, METRICS_PLAIN, (double)time_wait,
			   "%s,to=\"%s\"", app, to);
}

/* The sum over destinations without series of their own. It is always present, so that
 * sums over `to` are complete. */
static void add_other(struct metrics *metrics, const struct ledger_app *app,
		      const char *labels)
{
	uint64_t open = app->open, time_wait = app->time_wait;

	for (unsigned i = 0; i < app->count; i++) {
		open -=
		    app->destinations[i].open < open ? app->destinations[i].open : open;
		time_wait -= app->destinations[i].time_wait < time_wait
				 ? app->destinations[i].time_wait
				 : time_wait;
	}
	add_destination(metrics, labels, "other", NULL, app->other);
	add_gauges(metrics, labels, "other", open, time_wait);
}

static void add_destinations(struct metrics *metrics, const struct ledger_app *app,
			     const char *labels)
{
	const struct ledger_destination *slot;
	char to[PRINT_ADDRESS_SIZE];
	struct mark mark;

	for (unsigned i = 0; i < app->count; i++) {
		slot = &app->destinations[i];
		mark = mark_here(metrics);
		print_address(to, &slot->to);
		add_destination(metrics, labels, to, slot->lines, NULL);
		add_gauges(metrics, labels, to, slot->open, slot->time_wait);
		all_or_nothing(metrics, mark);
	}
}

/* Bounds are exclusive but `le` is inclusive; values are whole microseconds. */
static void add_histogram(struct metrics *metrics, enum tws_histogram_id id,
			  const struct ledger_histogram *histogram, const char *labels)
{
	unsigned family = metrics->histograms[id];
	struct mark mark = mark_here(metrics);
	uint64_t below = 0;

	for (unsigned i = 0; i < TWS_BUCKETS - 1; i++) {
		below += histogram->count[i].shown;
		if (i % BUCKET_STEP == 0)
			add_series(metrics, family, METRICS_BUCKET, (double)below,
				   "%s,le=\"%.9g\"", labels,
				   (double)(tws_histogram_bound(id, i) - 1) / 1e6);
	}
	below += histogram->count[TWS_BUCKETS - 1].shown;
	add_series(metrics, family, METRICS_BUCKET, (double)below, "%s,le=\"+Inf\"",
		   labels);
	add_series(metrics, family, METRICS_SUM, (double)histogram->sum.shown / 1e6, "%s",
		   labels);
	add_series(metrics, family, METRICS_COUNT, (double)below, "%s", labels);
	all_or_nothing(metrics, mark);
}

static const char *app_labels(char *labels, const struct metrics *metrics,
			      const struct ledger_app *app)
{
	char name[6 * sizeof(app->name)], unit[6 * sizeof(app->unit)];
	int length = snprintf(labels, LABELS_SIZE, "app=\"%s\"",
			      metrics_escape(name, sizeof(name), app->name));

	if (metrics->unit_label && *app->unit)
		snprintf(labels + length, LABELS_SIZE - (size_t)length, ",unit=\"%s\"",
			 metrics_escape(unit, sizeof(unit), app->unit));
	return labels;
}

static void add_apps(struct metrics *metrics, const struct ledger *ledger)
{
	char labels[LABELS_SIZE];
	struct mark mark;

	for (unsigned i = 0; i < ledger->count; i++) {
		app_labels(labels, metrics, ledger->apps[i]);
		mark = mark_here(metrics);
		add_app(metrics, ledger->apps[i], labels);
		add_other(metrics, ledger->apps[i], labels);
		all_or_nothing(metrics, mark);
	}
	for (unsigned i = 0; i < ledger->count; i++)
		add_destinations(metrics, ledger->apps[i],
				 app_labels(labels, metrics, ledger->apps[i]));
	for (unsigned i = 0; i < ledger->count; i++)
		for (unsigned h = 0; h < TWS_HISTOGRAMS; h++)
			add_histogram(metrics, (enum tws_histogram_id)h,
				      &ledger->apps[i]->histograms[h],
				      app_labels(labels, metrics, ledger->apps[i]));
}

/* ---------------------------------------------------------------------- gauges */

static void add_pairs(struct metrics *metrics, const struct traffic *traffic)
{
	const struct traffic_pair *pair;
	char from[PRINT_ADDRESS_SIZE], to[PRINT_ADDRESS_SIZE], *colon;

	for (size_t i = 0; i < traffic->pair_count; i++) {
		pair = &traffic->pairs[i];
		if (!pair->range)
			continue;
		if (i >= METRICS_PAIRS) {
			/* Pairs that use hardly any ports need not count as dropped. */
			metrics->dropped += pair->used * 100ull >= pair->range ? 2 : 0;
			continue;
		}
		/* Removes the port, which is 0. */
		print_address(from, &pair->from);
		colon = strrchr(from, ':');
		if (colon)
			*colon = '\0';
		print_address(to, &pair->to);
		add_series(metrics, METRICS_PORT_FILL, METRICS_PLAIN,
			   (double)pair->used / pair->range, "from=\"%s\",to=\"%s\"",
			   from, to);
		add_series(metrics, METRICS_PORTS_USED, METRICS_PLAIN, pair->used,
			   "from=\"%s\",to=\"%s\"", from, to);
	}
}

static void add_rules(struct metrics *metrics, const struct model *model)
{
	char name[6 * TWS_NAME_SIZE];

	for (uint32_t i = 0; i < model->rule_count; i++)
		if (model->rules[i].processes)
			add_series(
			    metrics, METRICS_RULE_STOPPED, METRICS_PLAIN,
			    (double)model->rules[i].stopped, "rule=\"%s\"",
			    metrics_escape(name, sizeof(name), model->rules[i].name));
}

static void add_host(struct metrics *metrics, const struct model *model,
		     const struct traffic *traffic)
{
	add_series(metrics, METRICS_BUILD, METRICS_INFO, 1, "version=\"%s\"",
		   TWSHIM_VERSION);
	add_series(metrics, METRICS_KERNEL_READABLE, METRICS_PLAIN, model->has_table,
		   "%s", "");
	add_series(metrics, METRICS_SKIPPED, METRICS_PLAIN, (double)model->skipped_count,
		   "%s", "");
	if (model->has_table) {
		add_series(metrics, METRICS_HOST_TIME_WAIT, METRICS_PLAIN,
			   (double)model->kernel.owned, "owner=\"known\"");
		add_series(metrics, METRICS_HOST_TIME_WAIT, METRICS_PLAIN,
			   (double)model->kernel.incoming, "owner=\"incoming\"");
		add_series(metrics, METRICS_HOST_TIME_WAIT, METRICS_PLAIN,
			   (double)model->kernel.unowned, "owner=\"unknown\"");
	}
	if (model->ports.high)
		add_series(metrics, METRICS_PORTS, METRICS_PLAIN, model->ports.count,
			   "%s", "");
	if (traffic)
		add_pairs(metrics, traffic);
	add_rules(metrics, model);
}

static int compare_series(const void *a, const void *b)
{
	const struct metrics_series *x = a, *y = b;

	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

int metrics_make(struct metrics **ret_metrics, const struct model *model,
		 const struct traffic *traffic, struct ledger *ledger,
		 const struct metrics_options *options, double seconds)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return -ENOMEM;
	metrics_name_families(metrics);
	metrics->limit = options->series;
	metrics->unit_label = options->unit_label;
	metrics->has_table = model->has_table;
	add_host(metrics, model, traffic);
	add_series(metrics, METRICS_STATE_SAVED, METRICS_PLAIN, 0, "%s", "");
	add_series(metrics, METRICS_DURATION, METRICS_PLAIN, seconds, "%s", "");
	add_apps(metrics, ledger);
	ledger->dropped += metrics->dropped;
	metrics->limit = metrics->count + 1;
	add_series(metrics, metrics->dropped_family, METRICS_PLAIN,
		   (double)ledger->dropped, "%s", "");
	if (metrics->count)
		qsort(metrics->series, metrics->count, sizeof(*metrics->series),
		      compare_series);
	if (metrics->failed) {
		metrics_free(metrics);
		return -ENOMEM;
	}
	*ret_metrics = metrics;
	return 0;
}

void metrics_set(struct metrics *metrics, enum metrics_gauge gauge, double value)
{
	for (size_t i = 0; i < metrics->count; i++)
		if (metrics->series[i].family == gauge)
			metrics->series[i].value = value;
}

int metrics_saved(const struct metrics *metrics)
{
	return metrics->saved;
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	for (size_t i = 0; i < metrics->count; i++)
		free(metrics->series[i].labels);
	free(metrics->series);
	free(metrics);
}
