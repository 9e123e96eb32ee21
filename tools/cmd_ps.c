/* SPDX-License-Identifier: MIT
 *
 * twshim ps: one line per process.
 */
#include "tools/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/base/json.h"
#include "tools/model/model.h"
#include "tools/model/name_fields.h"
#include "tools/model/storm.h"
#include "tools/base/print.h"
#include "tools/segments/dir_option.h"

#define CELL 80

struct request {
	bool all, json;
	const char *dir;
	enum print_color color;
};

static const struct cli_option OPTIONS[] = {
    {"all", 'a', NULL, "also processes that have exited", cli_take_flag,
     .offset = offsetof(struct request, all)},
    CLI_JSON(struct request, json, "ps/1"),
    DIR_OPTION(struct request, dir),
    CLI_COLOR(struct request, color),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "ps",
    .operands = "",
    .summary = "Lists the processes that run under the shim and have opened connections: "
	       "how many they\nhold open, how many they open per second (over the last "
	       "10 s), and how many they left\nin TIME_WAIT.\n",
    .options = OPTIONS,
};

enum column {
	COLUMN_PID,
	COLUMN_APP,
	COLUMN_OPEN,
	COLUMN_OPENED,
	COLUMN_RATE,
	COLUMN_TIME_WAIT,
	COLUMNS
};

static const struct print_column PS_COLUMNS[COLUMNS] = {
    [COLUMN_PID] = {"PID", true, false, 0},
    [COLUMN_APP] = {"APPLICATION", false, false, 0},
    [COLUMN_OPEN] = {"OPEN", true, false, 0},
    [COLUMN_OPENED] = {"OPENED", true, false, 1},
    [COLUMN_RATE] = {"PER SECOND", true, false, 2},
    [COLUMN_TIME_WAIT] = {"TIME_WAIT", true, false, 0},
};

static uint64_t ps_open(const struct model_process *process)
{
	return process->counters.value[TWS_open];
}

static int ps_add_row(struct print_table *table, const struct model *model,
		      const struct model_process *process)
{
	char cells[COLUMNS][CELL];

	snprintf(cells[COLUMN_PID], CELL, "%d", (int)process->pid);
	print_escape(cells[COLUMN_APP], CELL, model->apps[process->app].name);
	print_number(cells[COLUMN_OPEN], ps_open(process));
	print_number(cells[COLUMN_OPENED], process->counters.value[TWS_established]);
	if (process->life == PROCESS_DEAD)
		snprintf(cells[COLUMN_RATE], CELL, "exited");
	else
		snprintf(cells[COLUMN_RATE], CELL, "%.1f", process->rate);
	if (model->has_table)
		print_number(cells[COLUMN_TIME_WAIT], process->time_wait);
	else
		snprintf(cells[COLUMN_TIME_WAIT], CELL, "?");
	return print_table_add_array(table, cells[0], sizeof(cells[0]));
}

static bool ps_is_shown(const struct request *request,
			const struct model_process *process)
{
	return request->all || process->life != PROCESS_DEAD;
}

static void ps_print_storms(const struct model *model)
{
	char text[1024];

	for (uint32_t i = 0; i < model->order_count; i++)
		if (storm_describe(model, &model->apps[model->order[i]], text,
				   sizeof(text)))
			printf("%s\n", text);
}

static int ps_print_text(const struct request *request, const struct model *model)
{
	struct print_table *table = print_table_new(PS_COLUMNS, COLUMNS);
	int result = table ? 0 : -ENOMEM;

	for (uint32_t i = 0; result == 0 && i < model->process_count; i++)
		if (ps_is_shown(request, &model->processes[i]))
			result = ps_add_row(table, model, &model->processes[i]);
	if (result == 0)
		print_table_write(table, stdout, 0,
				  print_color_wanted(request->color, stdout));
	print_table_free(table);
	if (result == 0)
		ps_print_storms(model);
	return result;
}

static json_t *ps_process_object(const struct model *model,
				 const struct model_process *process)
{
	static const char *const lives[] = {
	    [PROCESS_ALIVE] = "alive",
	    [PROCESS_DEAD] = "exited",
	    [PROCESS_UNKNOWN] = "unknown",
	};

	json_t *object = json_pack(
	    "{s:i, s:s, s:s, s:I, s:I, s:f, s:o}", "pid", (int)process->pid, "process",
	    lives[process->life], "observed_by", segment_observed_by(process->observer),
	    "open", (json_int_t)ps_open(process), "established",
	    (json_int_t)process->counters.value[TWS_established], "rate", process->rate,
	    "time_wait",
	    model->has_table ? json_integer((json_int_t)process->time_wait)
			     : json_null());

	if (object && name_fields_set(object, model, &model->apps[process->app], process,
				      true) == 0)
		return object;
	json_decref(object);
	return NULL;
}

static int ps_print_json(const struct request *request, const struct model *model)
{
	json_t *array = json_array(), *object;
	int result = array ? 0 : -ENOMEM;

	for (uint32_t i = 0; result == 0 && i < model->process_count; i++)
		if (ps_is_shown(request, &model->processes[i]) &&
		    json_array_append_new(
			array, ps_process_object(model, &model->processes[i])) != 0)
			result = -ENOMEM;
	object = json_pack("{s:s, s:o, s:o}", "schema", "twshim.ps/1", "processes", array,
			   "storms", storm_list_json(model));
	if (result == 0)
		return print_json(stdout, object,
				  JSON_INDENT(1) | JSON_REAL_PRECISION(10));
	json_decref(object);
	return result;
}

static int ps_compare(const void *a, const void *b)
{
	const struct model_process *x = a, *y = b;

	if (x->time_wait != y->time_wait)
		return x->time_wait < y->time_wait ? 1 : -1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

int cmd_ps(int argc, char **argv)
{
	struct request request = {.color = PRINT_COLOR_AUTO};
	struct model_options options = {.from_reset = true};
	struct model *model = NULL;
	char error[PRINT_ERROR_SIZE];
	int status = cli_read(&COMMAND, argc, argv, &request), result;

	if (status != CLI_GO_ON)
		return status;
	options.dir = request.dir;
	if (model_build(&model, &options, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	if (model->process_count)
		qsort(model->processes, model->process_count, sizeof(*model->processes),
		      ps_compare);
	result = (request.json ? ps_print_json : ps_print_text)(&request, model);
	model_free(model);
	if (result != 0)
		return cli_fail(CLI_FAILURE, "ps: %s", strerror(-result));
	return cli_finish_output();
}
