/* SPDX-License-Identifier: MIT
 *
 * Conditions that make a finished run a failure: `run --fail-if 'time_wait>100'`. A
 * condition compares a counter, the TIME_WAIT sockets, or how often there is a finding,
 * with a number.
 */
#ifndef TWS_TOOLS_FAIL_IF_H
#define TWS_TOOLS_FAIL_IF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tools/base/cli.h"

#define FAIL_IF_MOST   16
#define FAIL_IF_STATUS 124 /* the exit status if a condition holds */

struct model;
struct report_run;

struct fail_condition {
	const char *text; /* as typed */
	char name[32];
	char relation[3]; /* "<", "<=", ">", ">=", "=" or "!=" */
	uint64_t limit;

	/* Set by fail_if_judge(). */
	uint64_t value;
	bool unknown; /* it was not or could not be judged, which is a failure too */
	bool holds;
};

struct fail_if {
	struct fail_condition conditions[FAIL_IF_MOST];
	unsigned count;
};

/* A `take` of a command's table; the field is a struct fail_if. */
int fail_if_take(const struct cli_option *option, void *field);

/* Returns 0 or -ENOMEM. */
int fail_if_judge(struct fail_if *fail_if, const struct model *model);

/* Prints one line to stderr for each condition that holds. Returns whether one does. */
bool fail_if_complain(const struct fail_if *fail_if);

/* What is wrong, without the name of the program. */
void fail_if_describe(const struct fail_condition *condition, char *text, size_t size);

/* Writes the command and each condition as a test case in JUnit's XML. */
void junit_print(FILE *out, const struct fail_if *fail_if, const struct report_run *run);

#endif
