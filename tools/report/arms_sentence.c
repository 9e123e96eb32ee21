/* SPDX-License-Identifier: MIT
 *
 * The result of an experiment in one sentence, for those who do not read the table.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/print.h"
#include "tools/model/arms.h"
#include "tools/model/join.h"

static const struct arms_line *find_line(const struct arms_comparison *comparison,
					 const char *name)
{
	for (unsigned i = 0; i < comparison->count; i++)
		if (strcmp(comparison->line[i].name, name) == 0)
			return &comparison->line[i];
	return NULL;
}

static void describe_time_wait(char *text, size_t size, const struct arms_line *line)
{
	const struct statistics_difference *it = line ? &line->difference : NULL;

	if (!it || it->verdict == STATISTICS_TOO_FEW)
		snprintf(text, size, "too few connections to compare TIME_WAIT");
	else
		snprintf(
		    text, size,
		    "TIME_WAIT left by %.3g %% -> %.3g %% (95 %% sure: %+.1f to %+.1f "
		    "percentage points)",
		    it->first * 100, it->other * 100, it->low * 100, it->high * 100);
}

void arms_sentence(char *text, size_t size, const struct model_arm *first,
		   const struct model_arm *other,
		   const struct arms_comparison *comparison)
{
	const struct arms_line *latency = find_line(comparison, "connect_p50");
	uint64_t here = first->counters.value[TWS_attempts],
		 there = other->counters.value[TWS_attempts];
	char time_wait[160], name[TWS_NAME_SIZE * 4];
	char numbers[4][PRINT_NUMBER_SIZE];

	describe_time_wait(time_wait, sizeof(time_wait),
			   find_line(comparison, "time_wait"));
	snprintf(text, size,
		 "Of %s connections, %s were \"%s\": %s; failures %s and %s; latency of "
		 "connect(): %s.",
		 print_number(numbers[0], here + there), print_number(numbers[1], there),
		 print_escape(name, sizeof(name), other->name), time_wait,
		 print_number(numbers[2], join_failed(&first->counters)),
		 print_number(numbers[3], join_failed(&other->counters)),
		 latency ? arms_verdict(latency) : "not measured");
}
