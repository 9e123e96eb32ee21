/* SPDX-License-Identifier: MIT
 *
 * Storms: a program that is started again and again, and opens a connection or a few each
 * time. None of its processes lives long enough to have a rate; together they have one.
 */
#ifndef TWS_TOOLS_STORM_H
#define TWS_TOOLS_STORM_H

#include <jansson.h>

#include "tools/model/model.h"

/* Connections per second of the processes that began and ended within the last ten
 * seconds; 0: there is no storm. */
double storm_rate(const struct model *model, const struct model_app *app);

/* "curl, 41/s, a new process each time, started by cron.sh (4711)", safe to print. NULL:
 * there is no storm; else `buffer`. */
const char *storm_describe(const struct model *model, const struct model_app *app,
			   char *buffer, size_t size);

/* All storms as an array of {"app", "rate", "processes", "started_by"}; NULL: no memory.
 */
json_t *storm_list_json(const struct model *model);

/* Used by model_note_recent(). */
void storm_note(struct model *model, const struct segment *segment, struct model_app *app,
		uint64_t begun);

#endif
