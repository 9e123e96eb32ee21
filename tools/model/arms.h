/* SPDX-License-Identifier: MIT
 *
 * The arms of an experiment side by side: each measure of each arm, and its difference
 * from the first arm's, with a confidence interval and a plain verdict. The intervals of
 * one report hold together at 95 %.
 */
#ifndef TWS_TOOLS_ARMS_H
#define TWS_TOOLS_ARMS_H

#include <jansson.h>
#include <stdio.h>

#include "tools/model/model.h"
#include "tools/model/statistics.h"

#define ARMS_LINES 20

/* How a value is to be read. */
enum arms_unit { ARMS_SHARE, ARMS_BYTES, ARMS_MICROSECONDS, ARMS_PER_SECOND };

struct arms_line {
	const char *name;  /* in JSON */
	const char *title; /* in text */
	enum arms_unit unit;
	int better; /* 1: higher is better, -1: lower, 0: neither */
	struct statistics_difference difference;
};

struct arms_comparison {
	struct arms_line line[ARMS_LINES];
	unsigned count; /* of the measures that one of the two has */
};

/* Compares an arm with the first one. `arms_compared`: how many are, in this report.
 * `seconds`: how long a run was, from whose start both were in force; 0: as long as the
 * arms themselves say. Pure. */
void arms_compare(const struct model_arm *first, const struct model_arm *other,
		  unsigned arms_compared, double seconds,
		  struct arms_comparison *ret_comparison);

/* "better", "worse", "higher", "lower", "no difference shown", "too few connections".
 * Pure. */
const char *arms_verdict(const struct arms_line *line);

/* The first arm of the experiment that the arm at `index` belongs to, and how many of it
 * are compared with that one. Pure. */
const struct model_arm *arms_first(const struct model *model, uint32_t index,
				   unsigned *ret_compared);

/* Prints a table for each arm but its experiment's first; nothing where there is none.
 * `seconds` as above. 0 or -ENOMEM. */
int arms_write(FILE *out, const struct model *model, double seconds, bool color);

/* The array of an arm's differences from the first one (empty for the first), schema:
 * {"measure","unit","first","this","difference","low","high","verdict","needed"}. NULL:
 * out of memory. */
json_t *arms_json(const struct model *model, uint32_t arm, double seconds);

#endif
