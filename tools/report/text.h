/* SPDX-License-Identifier: MIT
 *
 * Shared by the parts of the text report.
 */
#ifndef TWS_TOOLS_REPORT_TEXT_H
#define TWS_TOOLS_REPORT_TEXT_H

#include "tools/model/model.h"
#include "tools/report/report.h"

#define REPORT_WIDTH	 90 /* of running text */
#define REPORT_NAME_SIZE 64

/* For the arguments of one printf; good until the end of the block. */
#define REPORT_NUMBER(n)   print_number((char[PRINT_NUMBER_SIZE]){0}, (n))
#define REPORT_DURATION(s) print_duration((char[PRINT_NUMBER_SIZE]){0}, (s))

struct report_text {
	FILE *out;
	const struct model *model;
	const struct report_options *options;
	bool color;
	bool several; /* applications that have something to show */
};

/* The application of a rank in the model's order. */
const struct model_app *report_text_app(const struct model *model, uint32_t rank);

/* Connections that we closed first, and those of them that a policy closed. */
uint64_t report_text_closed_first(const struct tws_counters *counters);
uint64_t report_text_by_policy(const struct tws_counters *counters);

/* Whether nothing ever happened there. */
bool report_text_is_empty(const struct tws_counters *counters);

/* How many applications have something to show. */
uint32_t report_text_busy(const struct model *model);

void report_text_headline(const struct report_text *text);
void report_text_nothing(const struct report_text *text);

#endif
