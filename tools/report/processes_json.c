/* SPDX-License-Identifier: MIT
 *
 * The living processes, as JSON for the page.
 */
#include <stdlib.h>

#include "tools/base/json.h"
#include "tools/model/model.h"
#include "tools/report/report.h"

/* The page shows no more, and a host may have thousands. */
#define PROCESSES_MOST 200

static int compare_processes(const void *a, const void *b)
{
	const struct model_process *x = *(const struct model_process *const *)a;
	const struct model_process *y = *(const struct model_process *const *)b;

	if (x->time_wait != y->time_wait)
		return x->time_wait < y->time_wait ? 1 : -1;
	if (x->rate != y->rate)
		return x->rate < y->rate ? 1 : -1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static json_t *process_row(const struct model *model, const struct model_process *process)
{
	const uint64_t *value = process->counters.value;

	return json_pack("{s:i, s:o, s:o, s:o, s:o, s:f, s:o}", "pid", (int)process->pid,
			 "app", print_json_text(model->apps[process->app].name), "exe",
			 print_json_text(model->apps[process->app].exe), "open",
			 json_count(value[TWS_open]), "opened",
			 json_count(value[TWS_established]), "rate", process->rate,
			 "time_wait",
			 model->has_table ? json_count(process->time_wait) : json_null());
}

json_t *report_processes_json(const struct model *model)
{
	const struct model_process **living =
	    calloc(model->process_count + 1, sizeof(*living));
	json_t *array = living ? json_array() : NULL;
	size_t count = 0;

	if (!array) {
		free(living);
		return NULL;
	}
	for (uint32_t i = 0; i < model->process_count; i++)
		if (model->processes[i].life != PROCESS_DEAD)
			living[count++] = &model->processes[i];
	qsort(living, count, sizeof(*living), compare_processes);
	for (size_t i = 0; i < count && i < PROCESSES_MOST; i++)
		if (json_array_append_new(array, process_row(model, living[i])) != 0) {
			json_decref(array);
			array = NULL;
			break;
		}
	free(living);
	return array;
}
