/* SPDX-License-Identifier: MIT
 *
 * The names of what a segment counts, from counters.def, and of how connections end.
 */
#ifndef TWS_TOOLS_NAMES_H
#define TWS_TOOLS_NAMES_H

#include "shim/shared/segment.h"

struct counter_text {
	const char *name;
	const char *help;
};

extern const struct counter_text counter_texts[TWS_COUNTERS];
extern const char *const histogram_names[TWS_HISTOGRAMS];

/* The counter's name without `prefix` where it begins so; "unknown" for a value that is
 * not an enum tws_counter. */
const char *counter_name(enum tws_counter counter, const char *prefix);

/* "local_fin", "abandoned", "failed", ...; "unknown" for what is not an ending. */
const char *ending_name(unsigned ending);

/* "close", "exec", ...; "unknown" for what is not a way. */
const char *via_name(unsigned via);

/* Who writes a segment, as JSON names it: "shim", "bpf", "supervisor". */
const char *segment_observed_by(uint32_t observer);

#endif
