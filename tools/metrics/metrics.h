/* SPDX-License-Identifier: MIT
 *
 * Exports what is known as metrics for Prometheus, in its text format and in OpenMetrics,
 * from the same series. The number of destinations per application and of series in total
 * is limited, and what was left out is a metric itself. Labels contain no pids. The names
 * are in metrics.def.
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

#define METRICS_TOP    20 /* destinations per application that have series of their own */
#define METRICS_SERIES 10000 /* in total */
#define METRICS_PAIRS  50 /* pairs of source address and destination, the fullest ones */

struct metrics_options {
	const char *dir; /* NULL: the main run-time directory */
	unsigned top;
	unsigned series;
	bool unit_label; /* `unit` beside `app`, where an application has one */
	/* for a caller that asks repeatedly; NULL: none */
	struct reader_cache *cache;
	struct ledger *kept; /* what was shown last, in case the ledger's file is lost */
};

/* The rows of a command for them: it includes tools/base/cli.h, and `field` is the
 * metrics_options in its request. */
#define METRICS_OPTIONS(request, field)                                                  \
	{"top",                                                                          \
	 0,                                                                              \
	 "N",                                                                            \
	 "destinations per application that get series of their own\n"                   \
	 "(20); the rest is to=\"other\"",                                               \
	 cli_take_number,                                                                \
	 .offset = offsetof(request, field.top),                                         \
	 .most = LEDGER_DESTINATIONS},                                                   \
	    {"max-series",                                                               \
	     0,                                                                          \
	     "N",                                                                        \
	     "series in all (10000); those left out are counted",                        \
	     cli_take_number,                                                            \
	     .offset = offsetof(request, field.series),                                  \
	     .most = 1000000},                                                           \
	{                                                                                \
		"unit-label", 0, NULL,                                                   \
		    "label unit=\"NAME\" beside app, where all processes of the\n"       \
		    "application have the same systemd unit",                            \
		    cli_take_flag, .offset = offsetof(request, field.unit_label)         \
	}

struct metrics;

/* Reads everything, updates the directory's ledger and makes the series. If the ledger
 * has no file (the directory is another user's, or the file was lost), `kept` is used.
 * Returns 0, or -errno with a reason of one line. */
int metrics_collect(struct metrics **ret_metrics, const struct metrics_options *options,
		    char *ret_error, size_t size);

/* Returns whether the ledger's file was written: 0 yes; 1 it should not be; -errno. */
int metrics_saved(const struct metrics *metrics);

/* Makes the series from given values, for tests; of the options, only what concerns
 * series counts. `traffic` NULL: not known. Counts dropped series in the ledger. Returns
 * 0 or -ENOMEM. */
int metrics_make(struct metrics **ret_metrics, const struct model *model,
		 const struct traffic *traffic, struct ledger *ledger,
		 const struct metrics_options *options, double seconds);

void metrics_write(FILE *out, const struct metrics *metrics, enum metrics_format format);

void metrics_free(struct metrics *metrics);

/* Returns the format that an HTTP Accept header asks for; NULL: there is no such header.
 * Pure. */
enum metrics_format metrics_negotiate(const char *accept);

/* Escapes `text` as a label's value: UTF-8, with control characters and invalid bytes as
 * \\xNN. Different texts stay different. Needs 6 bytes per byte of text. Returns
 * `buffer`. Pure. */
const char *metrics_escape(char *buffer, size_t size, const char *text);

#endif
