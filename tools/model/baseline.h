/* SPDX-License-Identifier: MIT
 *
 * `twshim reset`: what was counted until then, kept in a file of whoever gave the command
 * beside what his programs publish, and taken off whatever he reads later. Nothing of a
 * process is changed, so other readers and the metrics count on. A segment that was read
 * then may be part of totals now; so it is taken off its application, and off its process
 * while that is known.
 */
#ifndef TWS_TOOLS_BASELINE_H
#define TWS_TOOLS_BASELINE_H

#include <stdio.h>

#include "tools/model/model.h"

#define BASELINE_FILE	 "reset.counts"
#define BASELINE_AS_JSON "before-reset.json" /* what was known then, as a report */

struct baseline;

/* Begins to keep what a model is built from: set model_options.keep to the result.
 * NULL: out of memory. */
struct baseline *baseline_new(void);
void baseline_free(struct baseline *baseline);

/* Begins again, because what was read was not whole. */
void baseline_clear(struct baseline *baseline);

/* Keeps a segment as the model takes it. Returns 0 or -ENOMEM. */
int baseline_keep(struct baseline *baseline, const struct segment *segment);

/* Writes it. Returns 0 or -errno. */
int baseline_write(const struct baseline *baseline, FILE *file);

/* Reads the file in a run-time directory. NULL: there is none of ours that is whole and
 * of this boot. */
struct baseline *baseline_read(const char *directory);

/* When it was written; CLOCK_MONOTONIC and CLOCK_REALTIME. */
uint64_t baseline_when(const struct baseline *baseline, uint64_t *ret_realtime_ns);

/* How many connects it holds. */
uint64_t baseline_attempts(const struct baseline *baseline);

/* Takes it off a model that has taken all segments. Returns 0 or -ENOMEM. */
int baseline_apply(const struct baseline *baseline, struct model *model);

#endif
