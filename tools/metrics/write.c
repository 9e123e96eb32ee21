/* SPDX-License-Identifier: MIT
 *
 * The names of metrics, and the two formats.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/metrics/parts.h"

static const struct {
	const char *counter, *metric, *label;
	bool by_destination;
	const char *help;
} COUNTED[] = {
#define COUNTED(counter, metric, label, by_destination, help)                            \
	{counter, metric, label, by_destination, help},
#include "tools/metrics/metrics.def"
};

static const struct {
	const char *metric, *help;
} GAUGED[] = {
#define GAUGED(id, metric, help) {metric, help},
#include "tools/metrics/metrics.def"
};

enum kind { counter, gauge, maximum };

static const struct {
	const char *name;
	enum kind kind;
	const char *help;
} COUNTERS[] = {
#define COUNTER(name, kind, unit, help) {#name, kind, help},
#include "shim/shared/counters.def"
};

static const struct {
	const char *name, *help;
} HISTOGRAMS[] = {
#define HISTOGRAM(name, unit, first_octave, help) {#name, help},
#include "shim/shared/counters.def"
};

/* ------------------------------------------------------------------------ names */

/* Returns the family with this name, made if it is new. */
static uint16_t family(struct metrics *metrics, const char *name, const char *help,
		       enum metrics_type type)
{
	struct metrics_family *new = &metrics->families[metrics->family_count];

	snprintf(new->name, sizeof(new->name), "twshim_%s", name);
	for (unsigned i = 0; i < metrics->family_count; i++)
		if (strcmp(metrics->families[i].name, new->name) == 0)
			return (uint16_t)i;
	new->help = help;
	new->type = type;
	return (uint16_t)metrics->family_count++;
}

/* Returns the part of the name that follows the row's, or NULL if the row does not
 * describe this counter. */
static const char *match(const char *row, const char *name)
{
	size_t length = strlen(row);

	if (strcmp(row, name) == 0)
		return name + length;
	if (row[length - 1] == '_' && strncmp(row, name, length) == 0)
		return name + length;
	return NULL;
}

static struct metrics_counter name_counter(struct metrics *metrics, unsigned index)
{
	const char *name = COUNTERS[index].name, *rest;

	if (COUNTERS[index].kind != counter)
		return (struct metrics_counter){.family = METRICS_NO_FAMILY, .label = ""};
	for (size_t i = 0; i < sizeof(COUNTED) / sizeof(*COUNTED); i++) {
		rest = match(COUNTED[i].counter, name);
		if (rest)
			return (struct metrics_counter){
			    .family = family(metrics, COUNTED[i].metric, COUNTED[i].help,
					     METRICS_IS_COUNTER),
			    .by_destination = COUNTED[i].by_destination,
			    .label = COUNTED[i].label,
			    .value = rest,
			};
	}
	return (struct metrics_counter){
	    .family = family(metrics, name, COUNTERS[index].help, METRICS_IS_COUNTER),
	    .label = "",
	};
}

/* "lifetime_seconds" needs "connection_" in front; "connect_latency_seconds" does not. */
static uint16_t name_histogram(struct metrics *metrics, unsigned index)
{
	const char *name = HISTOGRAMS[index].name;
	char full[64];

	snprintf(full, sizeof(full), "%s%s",
		 strncmp(name, "connect", 7) == 0 ? "" : "connection_", name);
	return family(metrics, full, HISTOGRAMS[index].help, METRICS_IS_HISTOGRAM);
}

void metrics_name_families(struct metrics *metrics)
{
	for (unsigned i = 0; i < METRICS_GAUGES; i++)
		family(metrics, GAUGED[i].metric, GAUGED[i].help,
		       i == METRICS_BUILD ? METRICS_IS_INFO : METRICS_IS_GAUGE);
	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		metrics->counters[i] = name_counter(metrics, i);
	for (unsigned i = 0; i < TWS_HISTOGRAMS; i++)
		metrics->histograms[i] = name_histogram(metrics, i);
	metrics->dropped_family =
	    family(metrics, "metrics_series_dropped",
		   "Series left out because there were too many.", METRICS_IS_COUNTER);
}

/* --------------------------------------------------------------------- printing */

static const char *type_name(enum metrics_type type, enum metrics_format format)
{
	switch (type) {
	case METRICS_IS_COUNTER:
		return "counter";
	case METRICS_IS_HISTOGRAM:
		return "histogram";
	case METRICS_IS_INFO:
		return format == METRICS_OPENMETRICS ? "info" : "gauge";
	default:
		return "gauge";
	}
}

static const char *sample_suffix(const struct metrics_family *of, unsigned suffix)
{
	static const char *const suffixes[] = {
	    [METRICS_PLAIN] = "",	  [METRICS_INFO] = "_info",
	    [METRICS_BUCKET] = "_bucket", [METRICS_SUM] = "_sum",
	    [METRICS_COUNT] = "_count",
	};

	return of->type == METRICS_IS_COUNTER ? "_total" : suffixes[suffix];
}

/* In the older format a family has the same name as its samples. */
static const char *family_suffix(const struct metrics_family *of,
				 enum metrics_format format)
{
	if (format == METRICS_OPENMETRICS || of->type == METRICS_IS_HISTOGRAM)
		return "";
	return sample_suffix(of,
			     of->type == METRICS_IS_INFO ? METRICS_INFO : METRICS_PLAIN);
}

static void write_head(FILE *out, const struct metrics_family *of,
		       enum metrics_format format)
{
	const char *suffix = family_suffix(of, format);

	fprintf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", of->name, suffix, of->help,
		of->name, suffix, type_name(of->type, format));
}

void metrics_write(FILE *out, const struct metrics *metrics, enum metrics_format format)
{
	const struct metrics_family *of;
	const struct metrics_series *series;
	unsigned last = METRICS_NO_FAMILY;

	for (size_t i = 0; i < metrics->count; i++) {
		series = &metrics->series[i];
		of = &metrics->families[series->family];
		if (series->family != last)
			write_head(out, of, format);
		last = series->family;
		fprintf(out, "%s%s%s%s%s %.15g\n", of->name,
			sample_suffix(of, series->suffix), *series->labels ? "{" : "",
			series->labels, *series->labels ? "}" : "", series->value);
	}
	if (format == METRICS_OPENMETRICS)
		fputs("# EOF\n", out);
}

/* ------------------------------------------------------------------- negotiation */

/* Returns the q of one part of an Accept header; 1 if it has none. */
static double quality(const char *part, size_t length)
{
	const char *q;

	for (q = part; q + 2 < part + length; q++)
		if ((q[0] == ';' || q[0] == ' ') && q[1] == 'q' && q[2] == '=')
			return strtod(q + 3, NULL);
	return 1;
}

enum metrics_format metrics_negotiate(const char *accept)
{
	static const char open[] = "application/openmetrics-text", text[] = "text/plain";
	double wants_open = 0, wants_text = 0;
	size_t length;

	for (; accept && *accept; accept += length + (accept[length] == ',')) {
		accept += strspn(accept, " \t");
		length = strcspn(accept, ",");
		if (strncmp(accept, open, sizeof(open) - 1) == 0)
			wants_open = quality(accept, length);
		else if (strncmp(accept, text, sizeof(text) - 1) == 0)
			wants_text = quality(accept, length);
	}
	return wants_open > 0 && wants_open >= wants_text ? METRICS_OPENMETRICS
							  : METRICS_TEXT;
}
