/* SPDX-License-Identifier: MIT */
#include "tools/model/window.h"

#include <stdio.h>
#include <string.h>

#include "shim/shared/clock.h"
#include "shim/shared/slices.h"
#include "tools/model/group.h"

static uint64_t realtime_of(uint64_t monotonic_ns)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - tws_now() +
	       monotonic_ns;
}

void window_begin(struct model *model)
{
	if (!model->options.since_ns)
		return;
	model->window.slice = tws_slice_of(model->options.since_ns);
	model->window.since_realtime_ns =
	    realtime_of(tws_slice_begins(model->window.slice));
}

/* ------------------------------------------------------- one set of counters */

/* A destination, or the process section, of a segment. */
struct part {
	struct tws_counters *counters;
	uint32_t index; /* TWS_SLICE_PROCESS: the process section */
	uint32_t slice; /* of its last event; 0: not known */
};

/* Its counters when the period began. NULL: it had none. */
static const uint64_t *reading_before(const struct segment *segment,
				      const struct part *part, uint32_t slice)
{
	for (uint32_t i = 0; i < segment->used[TWS_SECTIONS]; i++) {
		const struct tws_slice *at = &segment->slices[i];

		if (at->destination == part->index && at->slice < slice &&
		    slice <= at->until &&
		    tws_slice_is_whole(&segment->header, segment->slices, i))
			return at->value;
	}
	return NULL;
}

static uint64_t take_off(struct tws_counters *counters, const uint64_t *before)
{
	uint64_t *value = counters->value, attempts = value[TWS_attempts];

	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		if (tws_counter_grows((enum tws_counter)i))
			value[i] -= before[i] < value[i] ? before[i] : value[i];
	return attempts - value[TWS_attempts];
}

/* Nothing was counted since. */
static bool ended_before(const struct segment *segment, uint32_t slice)
{
	return tws_slice_of(segment->header.heartbeat_ns) < slice;
}

/* Returns how many attempts are older. */
static uint64_t cut_living(const struct segment *segment, const struct part *part,
			   uint32_t slice)
{
	struct tws_counters all = *part->counters;
	bool over = ended_before(segment, slice) || (part->slice && part->slice < slice);
	const uint64_t *before = over ? all.value : reading_before(segment, part, slice);

	return before ? take_off(part->counters, before) : 0;
}

/* Totals say what was counted in each slice. */
static uint64_t cut_totals(const struct segment *segment, const struct part *part,
			   uint32_t slice)
{
	uint64_t attempts = part->counters->value[TWS_attempts];
	uint64_t sum[TWS_COUNTERS] = {0};

	for (uint32_t i = 0; i < segment->used[TWS_SECTIONS]; i++) {
		const struct tws_slice *at = &segment->slices[i];

		if (at->destination != part->index || at->slice < slice)
			continue;
		for (unsigned c = 0; c < TWS_COUNTERS; c++)
			sum[c] += at->value[c];
	}
	for (unsigned c = 0; c < TWS_COUNTERS; c++)
		if (tws_counter_grows((enum tws_counter)c))
			part->counters->value[c] = sum[c];
	return attempts > sum[TWS_attempts] ? attempts - sum[TWS_attempts] : 0;
}

/* ------------------------------------------------------------ one segment */

/* What it knows reaches back to the beginning of the period. */
static bool knows(const struct segment *segment, uint32_t slice)
{
	const struct tws_header *header = &segment->header;

	return slice >= tws_slices_known_from(header, segment->slices,
					      segment->used[TWS_SECTIONS]);
}

static bool began_within(const struct segment *segment, uint32_t slice)
{
	return segment->header.state != TWS_SEGMENT_TOTALS &&
	       tws_slice_of(segment->header.created_monotonic_ns) >= slice;
}

static void doubt(struct model *model, uint64_t attempts, const char *name,
		  uint64_t began)
{
	if (!attempts)
		return;
	model->window.doubtful += attempts;
	if (!*model->window.doubtful_app || began < model->window.doubtful_since_ns)
		snprintf(model->window.doubtful_app, sizeof(model->window.doubtful_app),
			 "%s", name);
	model_keep_earlier(&model->window.doubtful_since_ns, began);
}

void window_doubt(struct model *model, const struct model_app *app)
{
	doubt(model, app->counters.value[TWS_attempts], app->name,
	      app->since_realtime_ns);
}

static void note_doubt(struct model *model, const struct segment *segment)
{
	char buffer[64];
	uint64_t attempts = 0;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++)
		attempts += segment->destinations[i].counters.value[TWS_attempts];
	doubt(model, attempts,
	      group_name(MODEL_BY_APP, &segment->header, buffer, sizeof(buffer)),
	      segment->header.created_realtime_ns);
}

void window_cut(struct model *model, struct segment *segment, bool hidden)
{
	const uint32_t slice = model->window.slice;
	uint64_t (*cut)(const struct segment *segment, const struct part *part,
			uint32_t slice) =
	    segment->header.state == TWS_SEGMENT_TOTALS ? cut_totals : cut_living;
	struct part part = {.counters = &segment->process,
			    .index = TWS_SLICE_PROCESS,
			    .slice = segment->header.process_slice};
	uint64_t older = 0;

	if (!slice || began_within(segment, slice))
		return;
	if (!ended_before(segment, slice) && !knows(segment, slice)) {
		if (!hidden)
			note_doubt(model, segment);
		return;
	}
	cut(segment, &part, slice);
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++) {
		part = (struct part){.counters = &segment->destinations[i].counters,
				     .index = i,
				     .slice = segment->destinations[i].slice};
		older += cut(segment, &part, slice);
	}
	if (!hidden)
		model->window.older += older;
}

uint64_t window_processes(const struct model *model, const struct segment *segment,
			  uint32_t observer)
{
	const struct tws_header *header = &segment->header;
	const uint32_t slice = model->window.slice;
	uint64_t count = 0;

	if (!slice || (!ended_before(segment, slice) && !knows(segment, slice)))
		return observer ? header->folded_observed[observer]
				: header->folded_processes;
	for (uint32_t i = 0; i < segment->used[TWS_SECTIONS]; i++) {
		const struct tws_slice *at = &segment->slices[i];

		if (at->destination == TWS_SLICE_PROCESS && at->slice >= slice)
			count += observer ? at->observed[observer - 1] : at->processes;
	}
	return count;
}

bool window_has(const struct model *model, const struct segment *segment)
{
	return segment->life != PROCESS_DEAD || !model->window.slice ||
	       !ended_before(segment, model->window.slice);
}

uint64_t window_since(const struct model *model, uint64_t realtime_ns)
{
	return realtime_ns && realtime_ns < model->window.since_realtime_ns
		   ? model->window.since_realtime_ns
		   : realtime_ns;
}
