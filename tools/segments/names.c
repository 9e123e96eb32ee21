/* SPDX-License-Identifier: MIT
 *
 * The names of counters, histograms, endings and ways, each from its row in counters.def.
 */
#include "tools/segments/names.h"

#include <string.h>

const struct counter_text counter_texts[TWS_COUNTERS] = {
#define COUNTER(name, kind, unit, help) {#name, help},
#include "shim/shared/counters.def"
};

const char *const histogram_names[TWS_HISTOGRAMS] = {
#define HISTOGRAM(name, unit, first_octave, help) #name,
#include "shim/shared/counters.def"
};

const char *counter_name(enum tws_counter counter, const char *prefix)
{
	const size_t length = strlen(prefix);
	const char *name;

	if (counter >= TWS_COUNTERS)
		return "unknown";
	name = counter_texts[counter].name;
	return strncmp(name, prefix, length) == 0 ? name + length : name;
}

const char *ending_name(unsigned ending)
{
	if (ending == TWS_END_FAILED)
		return "failed";
	return counter_name(tws_ending_counter((enum tws_ending)ending), "ended_");
}

const char *via_name(unsigned via)
{
	return counter_name(tws_via_counter((enum tws_via)via), "via_");
}

const char *segment_observed_by(uint32_t observer)
{
	static const char *const names[TWS_OBSERVERS] = {
	    [TWS_OBSERVER_SHIM] = "shim",
	    [TWS_OBSERVER_BPF] = "bpf",
	    [TWS_OBSERVER_SUPERVISOR] = "supervisor",
	};

	return observer < TWS_OBSERVERS ? names[observer] : "unknown";
}
