/* SPDX-License-Identifier: MIT
 *
 * What `twshim trace` shows: which endings, and as what line.
 */
#ifndef TWS_TOOLS_TRACE_H
#define TWS_TOOLS_TRACE_H

#include <stdio.h>
#include <sys/types.h>

#include "shim/shared/match.h"
#include "tools/trace/follow.h"

#define TRACE_TARGETS 16

/* All of it must hold; of several targets, and of several endings, one. */
struct trace_filter {
	const char *app; /* glob over name or path; NULL: all */
	pid_t pid;	 /* 0: all */
	struct tws_target targets[TRACE_TARGETS];
	unsigned target_count;
	unsigned endings; /* bits 1 << enum tws_ending; 0: all */
	uint64_t min_lifetime_ns;
};

/* Whether an event is to be shown. What was missed is shown wherever the process is. */
bool trace_wants(const struct trace_filter *filter, const struct follow_event *event);

/* "local_fin", "abandoned", "failed", ...; "unknown" for what is no ending. */
const char *trace_ending_name(unsigned ending);

/* The ending of that name; TWS_END_NONE: there is none. */
enum tws_ending trace_ending_of(const char *name);

/* From established to ended; 0: it never was established. */
uint64_t trace_lifetime_ns(const struct tws_ended *ended);

/* 0 or -EINVAL: "1.5", "1.5s", "20ms". */
int trace_parse_duration(const char *text, uint64_t *ret_ns);

void trace_print_title(FILE *out, bool color);
void trace_print_text(FILE *out, const struct follow_event *event, bool color);

/* One object on one line, schema twshim.trace/1. 0 or -ENOMEM. */
int trace_print_json(FILE *out, const struct follow_event *event);

#endif
