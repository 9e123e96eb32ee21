/* SPDX-License-Identifier: MIT
 *
 * twshim enabled: lists the services that have our drop-in, and how many of their
 * processes run, loaded the shim, and publish a segment.
 */
#include "tools/commands.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/base/json.h"
#include "tools/systemd/dropin.h"
#include "tools/systemd/enable.h"
#include "tools/systemd/unit_command.h"
#include "tools/systemd/unit_processes.h"
#include "tools/base/print.h"

struct request {
	struct unit_command common;
	enum print_color color;
	json_t *units;
	struct print_table *table;
};

static const struct cli_option OPTIONS[] = {
    UNIT_USER_OPTION(struct request, common, "the units of your own systemd"),
    UNIT_ROOT_OPTION(struct request, common),
    CLI_JSON(struct request, common.json, "enabled/1"),
    CLI_COLOR(struct request, color),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "enabled",
    .operands = "",
    .summary = "Lists the services that `twshim enable` gave a drop-in, and how many of "
	       "their processes run,\nloaded the shim, and publish connections.\n",
    .notes = "A process without the shim was started before the drop-in, or can't be "
	     "reached:\nsee twshim doctor PID.\n",
    .options = OPTIONS,
};

static const struct print_column ENABLED_COLUMNS[] = {
    {"UNIT", false, false, 0},	 {"DROP-IN", false, false, 1},
    {"POLICY", false, false, 2}, {"PROCESSES", true, false, 0},
    {"LOADED", true, false, 0},	 {"PUBLISH", true, false, 0},
};

#define COLUMNS (sizeof(ENABLED_COLUMNS) / sizeof(*ENABLED_COLUMNS))

static void enabled_add(struct request *request, const char *unit, const char *dropin,
			bool edited, const char *policy)
{
	struct unit_processes processes = {0};
	char counts[3][PRINT_NUMBER_SIZE], names[3][PATH_MAX];
	const char *cells[COLUMNS];

	if (!*request->common.place.root)
		unit_processes_count(unit, &processes);
	json_array_append_new(
	    request->units,
	    json_pack("{s:o, s:o, s:b, s:o, s:I, s:I, s:I}", "unit",
		      print_json_text(unit), "drop_in", print_json_text(dropin), "edited",
		      edited, "policy", policy ? print_json_text(policy) : json_null(),
		      "processes", (json_int_t)processes.all, "loaded",
		      (json_int_t)processes.loaded, "publishing",
		      (json_int_t)processes.publishing));
	cells[0] = print_escape(names[0], PATH_MAX, unit);
	cells[1] = print_escape(names[1], PATH_MAX, dropin);
	cells[2] = print_escape(names[2], PATH_MAX, policy ? policy : "-");
	cells[3] = print_number(counts[0], processes.all);
	cells[4] = print_number(counts[1], processes.loaded);
	cells[5] = print_number(counts[2], processes.publishing);
	print_table_add(request->table, cells);
}

/* Adds the unit of ROOT/NAME, its UNIT.d, if our drop-in is in it. */
static void enabled_look_at(struct request *request, const char *root, const char *name)
{
	char dropin[PATH_MAX + 2 * UNIT_NAME_SIZE], policy[sizeof(dropin)];
	char unit[UNIT_NAME_SIZE], *content;

	snprintf(dropin, sizeof(dropin), "%s/%s/" UNIT_DROPIN_NAME, root, name);
	snprintf(policy, sizeof(policy), "%s/%s/" ENABLE_POLICY_NAME, root, name);
	content = unit_read_text(dropin);
	if (content && dropin_is_ours(content)) {
		snprintf(unit, sizeof(unit), "%.*s", (int)strlen(name) - 2, name);
		enabled_add(request, unit, dropin, !dropin_is_untouched(content),
			    access(policy, F_OK) == 0 ? policy : NULL);
	}
	free(content);
}

static int enabled_is_dropins(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return length > 10 && strcmp(entry->d_name + length - 10, ".service.d") == 0;
}

static void enabled_look_in(struct request *request, bool runtime)
{
	struct dirent **found;
	char root[PATH_MAX];
	int count;

	if (!unit_dropin_root(&request->common.place, runtime, root, sizeof(root)))
		return;
	count = scandir(root, &found, enabled_is_dropins, alphasort);
	for (int i = 0; i < count; i++) {
		enabled_look_at(request, root, found[i]->d_name);
		free(found[i]);
	}
	if (count >= 0)
		free(found);
}

static int enabled_print(struct request *request)
{
	json_t *object;

	if (request->common.json) {
		object = json_pack("{s:s, s:O}", "schema", "twshim.enabled/1", "units",
				   request->units);
		if (print_json(stdout, object, JSON_INDENT(1)) != 0)
			return cli_fail(CLI_FAILURE, "enabled: %s", strerror(ENOMEM));
	} else if (json_array_size(request->units) == 0) {
		puts("no unit is enabled: see twshim enable --help");
	} else {
		print_table_write(request->table, stdout, 0,
				  print_color_wanted(request->color, stdout));
	}
	return cli_finish_output();
}

int cmd_enabled(int argc, char **argv)
{
	struct request request = {.color = PRINT_COLOR_AUTO};
	int status = unit_command_read(&COMMAND, argc, argv, &request, &request.common);

	if (status != CLI_GO_ON)
		return status;
	request.units = json_array();
	request.table = print_table_new(ENABLED_COLUMNS, COLUMNS);
	if (!request.units || !request.table)
		return cli_fail(CLI_FAILURE, "enabled: %s", strerror(ENOMEM));
	enabled_look_in(&request, false);
	enabled_look_in(&request, true);
	status = enabled_print(&request);
	print_table_free(request.table);
	json_decref(request.units);
	return status;
}
