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

const char *report_text_when(char ret_time[PRINT_TIME_SIZE], const struct model *model,
			     time_t when)
{
	char time[PRINT_TIME_SIZE];

	if (when / 86400 != model->generated / 86400)
		return print_time(ret_time, when);
	snprintf(ret_time, PRINT_TIME_SIZE, "%.8s UTC", print_time(time, when) + 11);
	return ret_time;
}
