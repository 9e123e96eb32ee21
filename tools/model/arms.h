/* SPDX-License-Identifier: MIT
 *
 * The arms of an experiment side by side: each measure of each arm, and how it differs
 * from the first arm's, with a confidence interval and a verdict in plain words. All
 * intervals of one report together hold at 95 %.
 */
#ifndef TWS_TOOLS_ARMS_H
#define TWS_TOOLS_ARMS_H

#include <jansson.h>
#include <stdio.h>

#include "tools/model/model.h"
#include "tools/model/statistics.h"

#define ARMS_LINES 20

/* How to print a value. */
enum arms_unit { ARMS_SHARE, ARMS_BYTES, ARMS_MICROSECONDS, ARMS_PER_SECOND };

struct arms_line {
	const char *name;  /* the key in JSON */
	const char *title; /* the title in text */
	enum arms_unit unit;
	int better; /* 1: higher is better, -1: lower, 0: neither */
	struct statistics_difference difference;
};

struct arms_comparison {
	struct arms_line line[ARMS_LINES];
	unsigned count; /* lines in use: measures that at least one of the two arms has */
};

/* Compares an arm with the first one. `arms_compared` is the number of comparisons in
 * this report. `seconds` is the duration of a run in which both arms were in force from
 * the start; 0: use the time that the arms themselves record. Pure. */
void arms_compare(const struct model_arm *first, const struct model_arm *other,
		  unsigned arms_compared, double seconds,
		  struct arms_comparison *ret_comparison);

/* "better", "worse", "higher", "lower", "no difference shown", "too few connections".
 * Pure. */
const char *arms_verdict(const struct arms_line *line);

/* Returns the first arm of the experiment to which the arm at `index` belongs, and in
 * `ret_compared` how many arms are compared with it. Pure. */
const struct model_arm *arms_first(const struct model *model, uint32_t index,
				   unsigned *ret_compared);

/* Prints one table per arm, except for the first arm of each experiment; prints nothing
 * without an experiment. `seconds` as above. Returns 0 or -ENOMEM. */
int arms_write(FILE *out, const struct model *model, double seconds, bool color);

/* The same as Markdown; if there is no experiment, it says so. */
int arms_write_markdown(FILE *out, const struct model *model, double seconds);

/* Writes one sentence that says what the arm changed, without a newline. */
void arms_sentence(char *text, size_t size, const struct model_arm *first,
		   const struct model_arm *other,
		   const struct arms_comparison *comparison);

/* Returns the array of an arm's differences from the first one (empty for the first),
 * schema: {"measure","unit","first","this","difference","low","high","verdict","needed"}.
 * On error, NULL is returned (out of memory). */
json_t *arms_json(const struct model *model, uint32_t arm, double seconds);

#endif
