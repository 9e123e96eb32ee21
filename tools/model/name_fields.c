/* SPDX-License-Identifier: MIT */
#include "tools/model/name_fields.h"

#include <errno.h>
#include <stdlib.h>

#include "tools/base/json.h"
#include "tools/base/print.h"
#include "tools/kernel/naming.h"
#include "tools/kernel/process_names.h"
#include "tools/model/group.h"

static json_t *user_field(const struct model_app *app,
			  const struct model_process *process)
{
	char name[64];

	if (!process && app->several_users)
		return json_null();
	return print_json_text(
	    group_user(process ? process->uid : app->uid, name, sizeof(name)));
}

static json_t *parent_field(const struct model_process *process)
{
	char name[256], other[NAMING_SIZE];
	const char *app;

	if (!process || !process->parent)
		return json_null();
	app = process->is_here ? process_app(process->parent, name, sizeof(name)) : NULL;
	if (app)
		app = naming_of_process(other, "/proc", process->parent, app);
	return json_pack("{s:i, s:o}", "pid", (int)process->parent, "app",
			 app ? print_json_text(app) : json_null());
}

/* Absent, rather than null, once the process has gone. */
static int set_command(json_t *object, const struct model_process *process)
{
	char *command;
	int result;

	if (!process || !process->is_here || process->life != PROCESS_ALIVE)
		return 0;
	command = process_command(process->pid, process->start_time);
	if (!command)
		return 0;
	result = json_object_set_new(object, "command", print_json_text(command));
	free(command);
	return result;
}

int name_fields_set(json_t *object, const struct model *model,
		    const struct model_app *app, const struct model_process *process,
		    bool command)
{
	const struct model_process *one = process ? process
					  : app->latest != MODEL_NOBODY
					      ? &model->processes[app->latest]
					      : NULL;
	const struct {
		const char *key;
		json_t *value;
	} fields[] = {
	    {"app", print_json_text(app->name)},
	    {"exe", print_json_text(app->exe)},
	    {"unit", print_json_text_or_null(app->names.unit)},
	    {"container", print_json_text_or_null(app->names.container)},
	    {"script", print_json_text_or_null(app->names.script)},
	    {"user", user_field(app, process)},
	    {"parent", parent_field(one)},
	};
	int result = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (json_object_set_new(object, fields[i].key, fields[i].value) != 0)
			result = -ENOMEM;
	if (result == 0 && command && set_command(object, one) != 0)
		result = -ENOMEM;
	return result;
}
