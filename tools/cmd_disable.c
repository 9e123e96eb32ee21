/* SPDX-License-Identifier: MIT
 *
 * twshim disable: removes exactly what `twshim enable` made for a unit, and touches
 * nothing else.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/base/json.h"
#include "tools/systemd/enable.h"
#include "tools/systemd/unit_command.h"
#include "tools/base/print.h"

struct request {
	struct unit_command common;
	char name[UNIT_NAME_SIZE];
};

static const struct cli_option OPTIONS[] = {
    UNIT_DRY_OPTION(struct request, common,
		    "print what would be removed, and change nothing"),
    UNIT_RESTART_OPTION(struct request, common),
    UNIT_USER_OPTION(struct request, common,
		     "a unit of your own systemd (systemctl --user)"),
    UNIT_ROOT_OPTION(struct request, common),
    CLI_JSON(struct request, common.json, "disable/1"),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "disable",
    .operands = "UNIT",
    .summary =
	"Removes what `twshim enable UNIT` made, lasting or --runtime. Files that it "
	"did not make or\nthat were edited since are kept and reported.\n",
    .options = OPTIONS,
    .most_operands = 1,
};

/* Finds the name that enable used: for an alias, that of the unit itself. */
static int disable_find_name(struct request *request, const char *word)
{
	char error[PRINT_ERROR_SIZE];
	struct unit unit;

	if (!unit_complete_name(word, request->name))
		return cli_fail(CLI_FAILURE,
				"%s: not the name of a service: twshim enabled lists "
				"those that are enabled",
				word);
	/* The unit itself may be gone by now. */
	if (unit_load(&unit, &request->common.place, request->name, error,
		      sizeof(error)) != 0)
		return 0;
	strcpy(request->name, unit.name);
	unit_free(&unit);
	return 0;
}

/* CLI_GO_ON, or the exit status. */
static int disable_read_options(struct request *request, int argc, char **argv)
{
	int status = unit_command_read(&COMMAND, argc, argv, request, &request->common);

	if (status != CLI_GO_ON)
		return status;
	if (optind == argc)
		return cli_fail(CLI_USAGE, "disable: UNIT is missing: twshim enabled "
					   "lists those that are enabled");
	status = disable_find_name(request, argv[optind]);
	return status ? status : CLI_GO_ON;
}

/* Looks in both places. The number of them that had something to remove, or -1. */
static int disable_remove_all(const struct request *request, char *ret_error, size_t size)
{
	char root[PATH_MAX - UNIT_NAME_SIZE - 4], directory[PATH_MAX];
	enum enable_change change;
	int ret = 0;

	for (int runtime = 0; runtime < 2; runtime++) {
		if (!unit_dropin_root(&request->common.place, runtime, root,
				      sizeof(root)))
			continue;
		snprintf(directory, sizeof(directory), "%s/%s.d", root, request->name);
		if (enable_remove(directory, request->common.dry, &change, ret_error,
				  size) != 0)
			return -1;
		if (change == ENABLE_UNCHANGED)
			continue;
		ret++;
		if (!request->common.json)
			printf("%s %s/" UNIT_DROPIN_NAME "\n",
			       request->common.dry ? "would remove" : "removed",
			       directory);
	}
	return ret;
}

static int disable_print_result(const struct request *request, int removed,
				bool restarted)
{
	const char *user = request->common.place.user ? "--user " : "";
	json_t *object;

	if (request->common.json) {
		object =
		    json_pack("{s:s, s:s, s:b, s:b, s:b}", "schema", "twshim.disable/1",
			      "unit", request->name, "dry_run", request->common.dry,
			      "removed", removed > 0, "restarted", restarted);
		if (print_json(stdout, object, JSON_INDENT(1)) != 0)
			return cli_fail(CLI_FAILURE, "disable: %s", strerror(ENOMEM));
	} else if (removed == 0) {
		printf("%s is not enabled: nothing to remove\n", request->name);
	} else if (restarted) {
		printf("%s was restarted\n", request->name);
	} else if (!request->common.dry && !*request->common.place.root) {
		printf(
		    "Running processes keep the shim until they are restarted: systemctl "
		    "%sdaemon-reload && systemctl %srestart %s\n",
		    user, user, request->name);
	}
	return cli_finish_output();
}

int cmd_disable(int argc, char **argv)
{
	struct request request = {0};
	char error[PATH_MAX + 256];
	int status = disable_read_options(&request, argc, argv), removed;
	bool restarted;

	if (status != CLI_GO_ON)
		return status;
	removed = disable_remove_all(&request, error, sizeof(error));
	if (removed < 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	restarted = request.common.restart && !request.common.dry && removed > 0;
	status = restarted ? unit_command_restart(&request.common, request.name,
						  "the drop-in is gone")
			   : 0;
	return status ? status : disable_print_result(&request, removed, restarted);
}
