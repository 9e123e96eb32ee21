/* SPDX-License-Identifier: MIT
 *
 * What counters were shown to a monitoring system, so that they never go back: neither
 * when a verdict on a dead process changes, nor when segments are folded or removed, nor
 * when the exporter restarts. And which destinations have a series of their own: the
 * first K by attempts keep theirs, the others are one, `other`. Kept as JSON in the
 * run-time directory, so it lives as long as the segments do. Pure but for load and save.
 */
#ifndef TWS_TOOLS_LEDGER_H
#define TWS_TOOLS_LEDGER_H

#include <stdbool.h>
#include <time.h>

#include "tools/model/model.h"

#define LEDGER_FILE	    "metrics.state"
#define LEDGER_LOCK	    "metrics.lock"
#define LEDGER_APPS	    1000
#define LEDGER_DESTINATIONS 100	  /* with a series of their own, at most */
#define LEDGER_IDLE_S	    3600  /* after which a destination gives way to another */
#define LEDGER_GONE_S	    86400 /* after which an application without segments goes */

/* shown = the highest of what raw + offset ever was. */
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
	uint64_t attempts; /* as last read; less of them: data has vanished */
	time_t changed;
	uint64_t open, time_wait; /* now */
};

struct ledger_app {
	char name[256]; /* of the executable: two with one name are one here */
	struct ledger_line lines[TWS_COUNTERS];
	struct ledger_histogram histograms[TWS_HISTOGRAMS];
	uint64_t attempts;
	time_t seen;
	bool full;			/* destinations were left to `other` */
	uint64_t retired[TWS_COUNTERS]; /* shown of destinations that gave way */
	uint64_t other[TWS_COUNTERS];	/* shown of the rest */
	struct ledger_destination *destinations;
	unsigned count;
	uint64_t open, time_wait, processes, alive; /* now */
};

struct ledger {
	struct ledger_app **apps; /* in the order of the model, then those gone */
	unsigned count;
	uint64_t dropped; /* series, ever; an application beyond LEDGER_APPS is one */
};

/* Takes in what is known now; `top` destinations an application, LEDGER_DESTINATIONS at
 * most. 0 or -ENOMEM. */
int ledger_update(struct ledger *ledger, const struct model *model, unsigned top,
		  time_t now);

void ledger_free(struct ledger *ledger);

/* Reads the file of a directory into an empty ledger. A file that is not there, or is
 * damaged, is an empty ledger. 0 or -ENOMEM. */
int ledger_load(struct ledger *ledger, int directory);

/* Replaces the file. 0 or -errno. */
int ledger_save(const struct ledger *ledger, int directory);

/* The one line of it that is arithmetic. */
void ledger_note(struct ledger_line *line, uint64_t raw);

#endif
