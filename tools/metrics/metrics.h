/* SPDX-License-Identifier: MIT
 *
 * What is known, as metrics for Prometheus: its text format and OpenMetrics, from the
 * same series. Bounded: so many destinations an application, so many series in all; what
 * was left out is a metric. No pids in labels. Names are in metrics.def.
 */
#ifndef TWS_TOOLS_METRICS_H
#define TWS_TOOLS_METRICS_H

#include <stdio.h>

#include "tools/metrics/ledger.h"
#include "tools/model/traffic.h"

enum metrics_format { METRICS_TEXT, METRICS_OPENMETRICS };

#define METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_OPENMETRICS_TYPE                                                         \
	"application/openmetrics-text; version=1.0.0; charset=utf-8"

#define METRICS_TOP    20    /* destinations of an application with series of their own */
#define METRICS_SERIES 10000 /* in all */
#define METRICS_PAIRS  50    /* fullest pairs of source address and destination */

struct metrics_options {
	const char *dir; /* NULL: the main run-time directory */
	unsigned top;
	unsigned series;
	/* Of who asks again and again; NULL: of nobody. */
	struct reader_cache *cache;
	struct ledger *kept; /* what was shown last, should its file be lost */
};

struct metrics;

/* Reads everything, brings the directory's ledger up to date, makes the series. A ledger
 * without a file (another user's directory, or the file was lost) is what was kept. 0, or
 * -errno with a one-line reason. */
int metrics_collect(struct metrics **ret_metrics, const struct metrics_options *options,
		    char *ret_error, size_t size);

/* Whether the ledger's file was written: 0; 1 where there is to be none; -errno. */
int metrics_saved(const struct metrics *metrics);

/* The same from what is at hand, for tests. `traffic` NULL: not known; counts what it
 * drops in the ledger. 0 or -ENOMEM. */
int metrics_make(struct metrics **ret_metrics, const struct model *model,
		 const struct traffic *traffic, struct ledger *ledger, unsigned series,
		 double seconds);

void metrics_write(FILE *out, const struct metrics *metrics, enum metrics_format format);

void metrics_free(struct metrics *metrics);

/* Which format an HTTP Accept header asks for; NULL: there is none. Pure. */
enum metrics_format metrics_negotiate(const char *accept);

/* `text` as the value of a label: UTF-8 without control characters, which become \\xNN,
 * as other bytes do; no two texts become one. Pure. Returns `buffer`; 6 bytes for each of
 * the text are enough. */
const char *metrics_escape(char *buffer, size_t size, const char *text);

#endif
