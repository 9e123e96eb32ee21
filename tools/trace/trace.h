/* SPDX-License-Identifier: MIT
 *
 * What `twshim trace` shows: which endings, and how each line is printed.
 */
#ifndef TWS_TOOLS_TRACE_H
#define TWS_TOOLS_TRACE_H

#include <stdio.h>
#include <sys/types.h>

#include "shim/shared/match.h"
#include "tools/trace/follow.h"

#define TRACE_TARGETS 16

/* All conditions must hold; where several targets or endings are given, one of them is
 * enough. */
struct trace_filter {
	const char *app; /* glob over the name or path; NULL: all */
	pid_t pid;	 /* 0: all */
	struct tws_target targets[TRACE_TARGETS];
	unsigned target_count;
	unsigned endings; /* bits 1 << enum tws_ending; 0: all */
	uint64_t min_lifetime_ns;
};

/* Returns whether to show an event. Missed endings are shown whenever the process
 * matches. */
bool trace_wants(const struct trace_filter *filter, const struct follow_event *event);

/* Returns the ending with that name; TWS_END_NONE if there is none. */
enum tws_ending trace_ending_of(const char *name);

/* Returns the time from established to ended; 0 if it was never established. */
uint64_t trace_lifetime_ns(const struct tws_ended *ended);

/* Accepts "1.5", "1.5s", "20ms". Returns 0 or -EINVAL. */
int trace_parse_duration(const char *text, uint64_t *ret_ns);

void trace_print_title(FILE *out, bool color);
void trace_print_text(FILE *out, const struct follow_event *event, bool color);

/* Prints one object on one line, schema twshim.trace/1. Returns 0 or -ENOMEM. */
int trace_print_json(FILE *out, const struct follow_event *event);

#endif
