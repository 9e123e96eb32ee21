/* SPDX-License-Identifier: MIT
 *
 * twshim enabled: the services with a drop-in of ours, and what runs of them: how many
 * processes, in how many the shim is loaded, how many publish a segment.
 */
#include "tools/commands.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/systemd/dropin.h"
#include "tools/systemd/enable.h"
#include "tools/systemd/enabled.h"
#include "tools/base/print.h"

enum { OPTION_USER, OPTION_ROOT, OPTION_JSON, OPTION_COLOR };

static const struct cli_option OPTIONS[] = {
    [OPTION_USER] = {"user", 0, NULL, "the units of your own systemd"},
    [OPTION_ROOT] = {"root", 0, "DIR", "the units of an image or a container below DIR"},
    [OPTION_JSON] = {"json", 0, NULL, "one JSON object, schema twshim.enabled/1"},
    [OPTION_COLOR] = {"color", 0, "WHEN", "auto (default), always, never"},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "enabled",
    .operands = "",
    .summary = "The services that `twshim enable` gave a drop-in; their processes, those "
	       "in which the shim is\nloaded, and those that publish connections.\n",
    .notes = "A process without the shim was started before the drop-in, or can't be "
	     "reached: see twshim doctor PID.\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

static const struct print_column columns[] = {
    {"UNIT", false, false},	{"DROP-IN", false, false}, {"POLICY", false, false},
    {"PROCESSES", true, false}, {"LOADED", true, false},   {"PUBLISH", true, false},
};

#define COLUMNS (sizeof(columns) / sizeof(*columns))

struct request {
	struct unit_place place;
	char *root;
	bool user, json;
	enum print_color color;
	json_t *units;
	struct print_table *table;
};

static int set_option(void *data, int option)
{
	struct request *request = data;

	switch (option) {
	case OPTION_USER:
		request->user = true;
		return 0;
	case OPTION_ROOT:
		request->root = optarg;
		return 0;
	case OPTION_JSON:
		request->json = true;
		return 0;
	default:
		return cli_take_color(&request->color);
	}
}

/* CLI_GO_ON, or the exit status. */
static int read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, set_option, request);
	char error[PRINT_ERROR_SIZE];

	if (status == CLI_GO_ON)
		status = cli_no_operand(&COMMAND, argc, argv);
	if (status != CLI_GO_ON)
		return status;
	if (enable_place(&request->place, request->root, request->user, error,
			 sizeof(error)) != 0)
		return cli_fail(CLI_USAGE, "enabled: %s", error);
	return CLI_GO_ON;
}

static json_t *text(const char *string)
{
	char safe[PATH_MAX];

	return json_string(print_utf8(safe, sizeof(safe), string));
}

static void add(struct request *request, const char *unit, const char *dropin,
		bool edited, const char *policy)
{
	struct enabled_processes processes = {0};
	char counts[3][PRINT_NUMBER_SIZE], names[3][PATH_MAX];
	const char *cells[COLUMNS];

	if (!*request->place.root)
		enabled_count(unit, &processes);
	json_array_append_new(
	    request->units,
	    json_pack("{s:o, s:o, s:b, s:o, s:I, s:I, s:I}", "unit", text(unit),
		      "drop_in", text(dropin), "edited", edited, "policy",
		      policy ? text(policy) : json_null(), "processes",
		      (json_int_t)processes.all, "loaded", (json_int_t)processes.loaded,
		      "publishing", (json_int_t)processes.publishing));
	cells[0] = print_escape(names[0], PATH_MAX, unit);
	cells[1] = print_escape(names[1], PATH_MAX, dropin);
	cells[2] = print_escape(names[2], PATH_MAX, policy ? policy : "-");
	cells[3] = print_number(counts[0], processes.all);
	cells[4] = print_number(counts[1], processes.loaded);
	cells[5] = print_number(counts[2], processes.publishing);
	print_table_add(request->table, cells);
}

/* UNIT.d of a directory of drop-ins, if there is one of ours in it. */
static void look_at(struct request *request, const char *root, const char *name)
{
	char dropin[PATH_MAX + 2 * UNIT_NAME_SIZE], policy[sizeof(dropin)];
	char unit[UNIT_NAME_SIZE], *content;

	snprintf(dropin, sizeof(dropin), "%s/%s/" UNIT_DROPIN_NAME, root, name);
	snprintf(policy, sizeof(policy), "%s/%s/" ENABLE_POLICY_NAME, root, name);
	content = unit_read_text(dropin);
	if (content && dropin_is_ours(content)) {
		snprintf(unit, sizeof(unit), "%.*s", (int)strlen(name) - 2, name);
		add(request, unit, dropin, !dropin_is_untouched(content),
		    access(policy, F_OK) == 0 ? policy : NULL);
	}
	free(content);
}

static int is_dropins(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return length > 10 && strcmp(entry->d_name + length - 10, ".service.d") == 0;
}

static void look_in(struct request *request, bool runtime)
{
	struct dirent **found;
	char root[PATH_MAX];
	int count;

	if (!unit_dropin_root(&request->place, runtime, root, sizeof(root)))
		return;
	count = scandir(root, &found, is_dropins, alphasort);
	for (int i = 0; i < count; i++) {
		look_at(request, root, found[i]->d_name);
		free(found[i]);
	}
	if (count >= 0)
		free(found);
}

static int print(struct request *request)
{
	json_t *object;

	if (request->json) {
		object = json_pack("{s:s, s:O}", "schema", "twshim.enabled/1", "units",
				   request->units);
		json_dumpf(object, stdout, JSON_INDENT(1) | JSON_ENSURE_ASCII);
		putchar('\n');
		json_decref(object);
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
	struct request request = {.place = {.root = ""}, .color = PRINT_COLOR_AUTO};
	int status = read_options(&request, argc, argv);

	if (status >= 0)
		return status;
	request.units = json_array();
	request.table = print_table_new(columns, COLUMNS);
	if (!request.units || !request.table)
		return cli_fail(CLI_FAILURE, "enabled: %s", strerror(ENOMEM));
	look_in(&request, false);
	look_in(&request, true);
	status = print(&request);
	print_table_free(request.table);
	json_decref(request.units);
	return status;
}
