/* SPDX-License-Identifier: MIT
 *
 * What the parts of the text report share.
 */
#ifndef TWS_TOOLS_REPORT_TEXT_PARTS_H
#define TWS_TOOLS_REPORT_TEXT_PARTS_H

#include "tools/advice/advice.h"
#include "tools/model/model.h"
#include "tools/report/report.h"

#define REPORT_WIDTH	 90 /* of paragraphs */
#define REPORT_NAME_SIZE 64
#define REPORT_PATH_SIZE 256 /* of an executable; a longer one is cut */

/* For the arguments of a printf; the text lives until the end of the block. */
#define REPORT_NUMBER(n)   print_number((char[PRINT_NUMBER_SIZE]){0}, (n))
#define REPORT_DURATION(s) print_duration((char[PRINT_NUMBER_SIZE]){0}, (s))

struct report_text {
	FILE *out;
	const struct model *model;
	const struct report_options *options;
	bool color;
	bool several; /* applications have something to show */
};

/* The application at a rank in the model's order. */
const struct model_app *report_text_app(const struct model *model, uint32_t rank);

/* Whether nothing was ever counted there. */
bool report_text_is_empty(const struct tws_counters *counters);

/* Counts the applications that have something to show. */
uint32_t report_text_busy(const struct model *model);

/* Writes when TIME_WAIT sockets leave, in whole seconds, rounded up: "12 s", "12-60 s",
 * or "-" if there are none. */
void report_text_leave(char *cell, size_t size, uint32_t oldest_ms, uint32_t newest_ms);

/* Writes a time in UTC: the clock alone if it is of the day of the report. */
const char *report_text_when(char ret_time[PRINT_TIME_SIZE], const struct model *model,
			     time_t when);

void report_text_headline(const struct report_text *text);

/* Says what the period leaves out, and what may be older than it. */
void report_text_left_out(const struct report_text *text);

void report_text_nothing(const struct report_text *text);

/* Says what each rule of the policy did, or that the policy changed nothing. */
void report_text_policy(const struct report_text *text);

/* Says to root what keeps programs of other users from publishing. */
void report_text_troubles(const struct report_text *text);

/* Says who observed, if it was not the shim alone, and what then is not known. */
void report_text_observed(const struct report_text *text);

/* Says what to look at next, given the findings. */
void report_text_next(const struct report_text *text, const struct advice *advice);

#endif
