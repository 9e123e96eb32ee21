/* SPDX-License-Identifier: MIT
 *
 * twshim disable: removes exactly what `twshim enable` made for a unit, and touches
 * nothing else.
 */
#include "tools/commands.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/systemd/enable.h"
#include "tools/base/print.h"

enum { OPTION_DRY, OPTION_RESTART, OPTION_USER, OPTION_ROOT, OPTION_JSON };

static const struct cli_option OPTIONS[] = {
    [OPTION_DRY] = {"dry-run", 'n', NULL, "say what would go, and change nothing"},
    [OPTION_RESTART] = {"restart", 0, NULL, "reload systemd and restart the unit"},
    [OPTION_USER] = {"user", 0, NULL, "a unit of your own systemd (systemctl --user)"},
    [OPTION_ROOT] = {"root", 0, "DIR", "the units of an image or a container below DIR"},
    [OPTION_JSON] = {"json", 0, NULL, "one JSON object, schema twshim.disable/1"},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "disable",
    .operands = "UNIT",
    .summary = "Removes what `twshim enable UNIT` made, lasting or --runtime. What it "
	       "did not make, or what\nwas edited since, stays, and is said.\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

struct request {
	struct unit_place place;
	char *root;
	char name[UNIT_NAME_SIZE];
	bool user, dry, restart, json;
};

static int set_option(void *data, int option)
{
	struct request *request = data;

	switch (option) {
	case OPTION_DRY:
		request->dry = true;
		return 0;
	case OPTION_RESTART:
		request->restart = true;
		return 0;
	case OPTION_USER:
		request->user = true;
		return 0;
	case OPTION_ROOT:
		request->root = optarg;
		return 0;
	default:
		request->json = true;
		return 0;
	}
}

/* The name under which enable put it: of an alias, the unit's own. */
static int settle_name(struct request *request, const char *word)
{
	char error[PRINT_ERROR_SIZE];
	struct unit unit;

	if (!unit_complete_name(word, request->name))
		return cli_fail(CLI_FAILURE,
				"%s: not a service's name: twshim enabled lists those "
				"that are enabled",
				word);
	/* The unit itself may be gone by now. */
	if (unit_load(&unit, &request->place, request->name, error, sizeof(error)) != 0)
		return 0;
	strcpy(request->name, unit.name);
	unit_free(&unit);
	return 0;
}

/* CLI_GO_ON, or the exit status. */
static int read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, set_option, request);
	char error[PRINT_ERROR_SIZE];

	if (status != CLI_GO_ON)
		return status;
	if (optind != argc - 1)
		return cli_fail(CLI_USAGE, "disable: name one UNIT: twshim enabled lists "
					   "them");
	if (enable_place(&request->place, request->root, request->user, error,
			 sizeof(error)) != 0)
		return cli_fail(CLI_USAGE, "disable: %s", error);
	if (request->restart && *request->place.root)
		return cli_fail(CLI_USAGE,
				"disable: --restart: nothing runs in --root %s: leave "
				"one of them out",
				request->root);
	status = settle_name(request, argv[optind]);
	return status ? status : -1;
}

/* Both places. The number of them in which something was, or -1. */
static int remove_all(const struct request *request, char *ret_error, size_t size)
{
	char root[PATH_MAX - UNIT_NAME_SIZE - 4], directory[PATH_MAX];
	enum enable_change change;
	int ret = 0;

	for (int runtime = 0; runtime < 2; runtime++) {
		if (!unit_dropin_root(&request->place, runtime, root, sizeof(root)))
			continue;
		snprintf(directory, sizeof(directory), "%s/%s.d", root, request->name);
		if (enable_remove(directory, request->dry, &change, ret_error, size) != 0)
			return -1;
		if (change == ENABLE_UNCHANGED)
			continue;
		ret++;
		if (!request->json)
			printf("%s %s/" UNIT_DROPIN_NAME "\n",
			       request->dry ? "would remove" : "removed", directory);
	}
	return ret;
}

static int restart(const struct request *request)
{
	int status = enable_systemctl(request->user, "daemon-reload", NULL);

	if (status == 0)
		status = enable_systemctl(request->user, "restart", request->name);
	if (status == 0)
		return 0;
	return cli_fail(CLI_FAILURE,
			"%s: the drop-in is gone, but it was not restarted: systemctl %s",
			request->name, status == 127 ? "is not here" : "failed");
}

static int print_result(const struct request *request, int removed, bool restarted)
{
	const char *user = request->user ? "--user " : "";
	json_t *object;

	if (request->json) {
		object =
		    json_pack("{s:s, s:s, s:b, s:b, s:b}", "schema", "twshim.disable/1",
			      "unit", request->name, "dry_run", request->dry, "removed",
			      removed > 0, "restarted", restarted);
		json_dumpf(object, stdout, JSON_INDENT(1) | JSON_ENSURE_ASCII);
		putchar('\n');
		json_decref(object);
	} else if (removed == 0) {
		printf("%s is not enabled: nothing to remove\n", request->name);
	} else if (restarted) {
		printf("%s was restarted\n", request->name);
	} else if (!request->dry && !*request->place.root) {
		printf("What runs keeps the shim until it is restarted: systemctl "
		       "%sdaemon-reload && systemctl %srestart %s\n",
		       user, user, request->name);
	}
	return cli_finish_output();
}

int cmd_disable(int argc, char **argv)
{
	struct request request = {.place = {.root = ""}};
	char error[PATH_MAX + 256];
	int status = read_options(&request, argc, argv), removed;
	bool restarted;

	if (status >= 0)
		return status;
	removed = remove_all(&request, error, sizeof(error));
	if (removed < 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	restarted = request.restart && !request.dry && removed > 0;
	status = restarted ? restart(&request) : 0;
	return status ? status : print_result(&request, removed, restarted);
}
