/* SPDX-License-Identifier: MIT
 *
 * A period: what was counted before it is taken off each segment, so that all that the
 * model adds up belongs to the period. Where a segment does not know how much that was,
 * it counts whole, and the model says that the period's numbers are "at most". Gauges are
 * of now, and a maximum or a histogram is of a process's life.
 */
#ifndef TWS_TOOLS_WINDOW_H
#define TWS_TOOLS_WINDOW_H

#include "tools/model/model.h"

/* Sets the period of a new model from its options. */
void window_begin(struct model *model);

/* Takes what is older off the counters of a segment, whose gauges have been derived.
 * `hidden`: it is in no total. */
void window_cut(struct model *model, struct segment *segment, bool hidden);

/* Notes that it is not known how many connections of an application are older. */
void window_doubt(struct model *model, const struct model_app *app);

/* How many of the processes in totals ended within the period, and how many of these an
 * observer wrote. */
uint64_t window_processes(const struct model *model, const struct segment *segment,
			  uint32_t observer);

/* Whether a process that is known one by one lived within the period. */
bool window_has(const struct model *model, const struct segment *segment);

/* The beginning of the period, or a later time from which on something is known. */
uint64_t window_since(const struct model *model, uint64_t realtime_ns);

#endif
