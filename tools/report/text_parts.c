/* SPDX-License-Identifier: MIT */
#include "tools/report/text_parts.h"

const struct model_app *report_text_app(const struct model *model, uint32_t rank)
{
	return &model->apps[model->order[rank]];
}

bool report_text_is_empty(const struct tws_counters *counters)
{
	return !counters->value[TWS_attempts] && !counters->value[TWS_unobserved] &&
	       !counters->value[TWS_adopted] &&
	       !counters->value[TWS_bind_failed_in_use] &&
	       !counters->value[TWS_bind_failed_other];
}

uint32_t report_text_busy(const struct model *model)
{
	uint32_t busy = 0;

	for (uint32_t i = 0; i < model->order_count; i++)
		busy += !report_text_is_empty(&report_text_app(model, i)->counters);
	return busy;
}

void report_text_leave(char *cell, size_t size, uint32_t oldest_ms, uint32_t newest_ms)
{
	unsigned oldest = (oldest_ms + 999) / 1000, newest = (newest_ms + 999) / 1000;

	if (!newest)
		snprintf(cell, size, "-");
	else if (oldest == newest)
		snprintf(cell, size, "%u s", newest);
	else
		snprintf(cell, size, "%u-%u s", oldest, newest);
}
