/* SPDX-License-Identifier: MIT
 *
 * Remembers the counters that were shown to a monitoring system, so that they never go
 * back: not when the verdict on a dead process changes, not when segments are folded or
 * removed, and not when the exporter restarts. Also remembers which destinations have
 * series of their own: the first K by attempts keep theirs, and the others are shown
 * together as `other`. Kept as JSON in the run-time directory, so that it lives as long
 * as the segments. Only load and save do I/O.
 */
#ifndef TWS_TOOLS_LEDGER_H
#define TWS_TOOLS_LEDGER_H

#include <stdbool.h>
#include <time.h>

#include "tools/model/model.h"

#define LEDGER_FILE	    "metrics.state"
#define LEDGER_LIMITED_FILE "metrics-limited.state" /* without others' names */
#define LEDGER_LOCK	    "metrics.lock"
#define LEDGER_APPS	    1000
#define LEDGER_DESTINATIONS 100	 /* most series of their own per application */
#define LEDGER_IDLE_S	    3600 /* then a destination may give up its place to another */
#define LEDGER_GONE_S	    86400 /* then an application without segments is forgotten */

/* shown = the highest value that raw + offset has had. */
struct ledger_line {
	int64_t offset;
	uint64_t shown;
};

struct ledger_histogram {
	struct ledger_line count[TWS_BUCKETS];
	struct ledger_line sum; /* microseconds */
};

struct ledger_destination {
	struct tws_address to;
	struct ledger_line lines[TWS_COUNTERS];
	uint64_t attempts; /* in the last reading; if it shrinks, data was lost */
	time_t changed;
	uint64_t open, time_wait; /* now */
};

struct ledger_app {
	char name[256]; /* equal names are merged */
	char unit[128]; /* that all its processes had; "": none, or they differ */
	struct ledger_line lines[TWS_COUNTERS];
	struct ledger_histogram histograms[TWS_HISTOGRAMS];
	uint64_t attempts;
	time_t seen;
	bool full;			/* some destinations were left to `other` */
	uint64_t retired[TWS_COUNTERS]; /* shown for those that gave way */
	uint64_t other[TWS_COUNTERS];	/* shown for the rest */
	struct ledger_destination *destinations;
	unsigned count;
	uint64_t open, time_wait, processes, alive; /* now */
};

struct ledger {
	struct ledger_app **apps; /* in the model's order, then those gone */
	unsigned count;
	uint64_t dropped; /* series dropped, ever; an application beyond LEDGER_APPS
			     counts as one */
};

/* Takes in the present state, with `top` destinations per application (at most
 * LEDGER_DESTINATIONS). Returns 0 or -ENOMEM. */
int ledger_update(struct ledger *ledger, const struct model *model, unsigned top,
		  time_t now);

void ledger_free(struct ledger *ledger);

/* Which file has the state: not the same if other users' programs are not named. */
const char *ledger_file_name(void);

/* Reads a directory's file into an empty ledger. A missing or damaged file gives an empty
 * ledger. Returns 0 or -ENOMEM. */
int ledger_load(struct ledger *ledger, int directory);

/* Replaces the file. Returns 0 or -errno. */
int ledger_save(const struct ledger *ledger, int directory);

/* Notes the units of the applications in the model. Those that are gone keep theirs, so
 * that their series keep their labels. */
void ledger_note_units(struct ledger *ledger, const struct model *model);

/* Notes a new raw value of one counter. */
void ledger_note(struct ledger_line *line, uint64_t raw);

#endif
