/* SPDX-License-Identifier: MIT
 *
 * Shared by the parts of metrics.h: metrics.c makes the series, write.c names and prints
 * them, collect.c reads what they are made from.
 */
#ifndef TWS_TOOLS_METRICS_PARTS_H
#define TWS_TOOLS_METRICS_PARTS_H

#include "tools/metrics/metrics.h"

enum metrics_gauge {
#define GAUGED(id, metric, help) METRICS_##id,
#include "tools/metrics/metrics.def"
	METRICS_GAUGES
};

#define METRICS_FAMILIES  (METRICS_GAUGES + TWS_COUNTERS + TWS_HISTOGRAMS + 1)
#define METRICS_NO_FAMILY UINT16_MAX

enum metrics_type {
	METRICS_IS_GAUGE,
	METRICS_IS_INFO,
	METRICS_IS_COUNTER,
	METRICS_IS_HISTOGRAM
};

enum metrics_suffix {
	METRICS_PLAIN,
	METRICS_INFO,
	METRICS_BUCKET,
	METRICS_SUM,
	METRICS_COUNT
};

struct metrics_family {
	char name[80]; /* without suffixes */
	const char *help;
	enum metrics_type type;
};

/* How a counter is shown. */
struct metrics_counter {
	uint16_t family; /* METRICS_NO_FAMILY: it is a gauge, and not shown */
	bool by_destination;
	const char *label; /* "": none */
	const char *value;
};

struct metrics_series {
	uint16_t family;
	uint16_t suffix; /* enum metrics_suffix */
	uint32_t order;	 /* within its family */
	char *labels;	 /* escaped */
	double value;
};

struct metrics {
	struct metrics_family families[METRICS_FAMILIES];
	unsigned family_count;
	struct metrics_counter counters[TWS_COUNTERS];
	uint16_t histograms[TWS_HISTOGRAMS];
	uint16_t dropped_family;
	struct metrics_series *series; /* by family */
	size_t count, limit;
	uint64_t dropped;
	bool has_table, unit_label;
	bool failed; /* out of memory */
	int saved;   /* see metrics_saved() */
};

/* Sets a series that has no labels, after all were made. */
void metrics_set(struct metrics *metrics, enum metrics_gauge gauge, double value);

/* Fills in the families. */
void metrics_name_families(struct metrics *metrics);

#endif
