/* SPDX-License-Identifier: MIT
 *
 * twshim enable: a drop-in that preloads the shim into a systemd service. Looks first
 * whether the shim would come into it, and changes nothing where it would not.
 */
#include "tools/commands.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/systemd/enable.h"
#include "tools/policy/actions.h"
#include "tools/policy/store.h"
#include "tools/base/print.h"

enum {
	OPTION_FILE,
	OPTION_DRY,
	OPTION_RESTART,
	OPTION_RUNTIME,
	OPTION_USER,
	OPTION_ROOT,
	OPTION_LIBRARY,
	OPTION_JSON
};

static const struct cli_option OPTIONS[] = {
    [OPTION_FILE] = {"config", 'c', "FILE",
		     "its policy: copied beside the drop-in, loaded at each\n"
		     "start; default: observe only"},
    [OPTION_DRY] = {"dry-run", 'n', NULL, "print the files, and change nothing"},
    [OPTION_RESTART] = {"restart", 0, NULL, "reload systemd and restart the unit"},
    [OPTION_RUNTIME] = {"runtime", 0, NULL, "until the next boot: below /run"},
    [OPTION_USER] = {"user", 0, NULL, "a unit of your own systemd (systemctl --user)"},
    [OPTION_ROOT] = {"root", 0, "DIR", "the units of an image or a container below DIR"},
    [OPTION_LIBRARY] = {"library", 0, "FILE", "libtwshim.so as the unit sees it"},
    [OPTION_JSON] = {"json", 0, NULL, "one JSON object, schema twshim.enable/1"},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "enable",
    .operands = "UNIT",
    .summary = "Preloads the shim into a systemd service by a drop-in, UNIT.d/"
	       "50-twshim.conf, after a look\nwhether it can be reached; from its next "
	       "start on. The unit's own file stays as it is, and\nwhat it puts into "
	       "LD_PRELOAD stays before the shim.\n",
    .notes = "Exit status: 0 it is enabled (also where it was), 1 not: the reason is "
	     "said, 2 usage.\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

struct request {
	struct enable_request enable;
	char *root;
	bool user, dry, restart, json;
};

static const char *const CHANGES[] = {
    [ENABLE_UNCHANGED] = "unchanged",
    [ENABLE_MADE] = "made",
    [ENABLE_REPLACED] = "replaced",
    [ENABLE_REMOVED] = "removed",
};

static int set_option(void *data, int option)
{
	struct request *request = data;

	switch (option) {
	case OPTION_FILE:
		request->enable.policy = optarg;
		return 0;
	case OPTION_DRY:
		request->dry = true;
		return 0;
	case OPTION_RESTART:
		request->restart = true;
		return 0;
	case OPTION_RUNTIME:
		request->enable.runtime = true;
		return 0;
	case OPTION_USER:
		request->user = true;
		return 0;
	case OPTION_ROOT:
		request->root = optarg;
		return 0;
	case OPTION_LIBRARY:
		request->enable.library = optarg;
		return 0;
	default:
		request->json = true;
		return 0;
	}
}

/* CLI_GO_ON, or the exit status. */
static int read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, set_option, request);
	char error[PRINT_ERROR_SIZE];

	if (status != CLI_GO_ON)
		return status;
	if (optind != argc - 1)
		return cli_fail(CLI_USAGE, "enable: name one UNIT, as in twshim enable "
					   "redis-server.service");
	request->enable.name = argv[optind];
	if (enable_place(&request->enable.place, request->root, request->user, error,
			 sizeof(error)) != 0)
		return cli_fail(CLI_USAGE, "enable: %s", error);
	if (request->restart && *request->enable.place.root)
		return cli_fail(
		    CLI_USAGE,
		    "enable: --restart: nothing runs in --root %s: leave one of them out",
		    request->root);
	return -1;
}

/* --------------------------------------------------------------------------- output */

static json_t *text(const char *string)
{
	char safe[8192];

	return json_string(print_utf8(safe, sizeof(safe), string));
}

static json_t *commands_array(const struct enable_plan *plan)
{
	json_t *ret = json_array();

	for (size_t i = 0; i < plan->command_count; i++) {
		const struct reach *reach = &plan->commands[i].reach;

		json_array_append_new(
		    ret,
		    json_pack("{s:o, s:o, s:s, s:b, s:o}", "command",
			      text(plan->commands[i].path), "executable",
			      text(reach->path), "verdict", reach_name(reach->verdict),
			      "reached", reach_is_reached(reach->verdict), "why",
			      text(reach->why)));
	}
	return ret;
}

static int print_json(const struct request *request, const struct enable_plan *plan,
		      enum enable_change change, bool restarted)
{
	json_t *notes = json_array(), *object;
	bool changed = change != ENABLE_UNCHANGED;

	for (size_t i = 0; i < plan->note_count; i++)
		json_array_append_new(notes, text(plan->notes[i]));
	object = json_pack("{s:s, s:o, s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o, "
			   "s:o}",
			   "schema", "twshim.enable/1", "unit", text(plan->unit.name),
			   "dry_run", request->dry, "change", CHANGES[change], "drop_in",
			   text(plan->dropin_path), "text", text(plan->dropin), "policy",
			   plan->policy ? text(plan->policy_path) : json_null(),
			   "library", text(plan->library), "commands",
			   commands_array(plan), "restarted", restarted, "restart_needed",
			   changed && !restarted && !request->dry, "notes", notes,
			   "warnings", policy_json_complaints(&plan->complaints, true));
	if (!object ||
	    json_dumpf(object, stdout, JSON_INDENT(1) | JSON_ENSURE_ASCII) != 0)
		return cli_fail(CLI_FAILURE, "enable: the JSON could not be written");
	putchar('\n');
	json_decref(object);
	return cli_finish_output();
}

static void print_file(const char *path, const char *content)
{
	printf("# %s\n%s", path, content);
}

static int print_text(const struct request *request, const struct enable_plan *plan,
		      enum enable_change change, bool restarted)
{
	const char *user = request->user ? "--user " : "";

	if (request->dry) {
		print_file(plan->dropin_path, plan->dropin);
		if (plan->policy) {
			putchar('\n');
			print_file(plan->policy_path, plan->policy);
		}
	} else if (change == ENABLE_UNCHANGED) {
		printf("%s is enabled already: %s\n", plan->unit.name, plan->dropin_path);
	} else {
		printf("%s %s\n", CHANGES[change], plan->dropin_path);
		if (plan->policy)
			printf("its policy: %s\n", plan->policy_path);
	}
	tws_policy_print_complaints(stderr, &plan->complaints);
	for (size_t i = 0; i < plan->note_count; i++)
		fprintf(stderr, "twshim: note: %s\n", plan->notes[i]);
	if (restarted)
		printf("%s was restarted\n", plan->unit.name);
	else if (!request->dry && change != ENABLE_UNCHANGED &&
		 !*request->enable.place.root)
		printf("In force from its next start: systemctl %sdaemon-reload && "
		       "systemctl %srestart %s\n",
		       user, user, plan->unit.name);
	return cli_finish_output();
}

/* ------------------------------------------------------------------------ the change */

/* 0, or the exit status with the reason said; what was written stays written. */
static int restart(const struct request *request, const struct enable_plan *plan)
{
	int status = enable_systemctl(request->user, "daemon-reload", NULL);

	if (status == 0)
		status = enable_systemctl(request->user, "restart", plan->unit.name);
	if (status == 0)
		return 0;
	return cli_fail(CLI_FAILURE,
			"%s: the drop-in is in place, but it was not restarted: "
			"systemctl %s",
			plan->unit.name, status == 127 ? "is not here" : "failed");
}

int cmd_enable(int argc, char **argv)
{
	static struct enable_plan plan;
	struct request request = {0};
	enum enable_change change;
	char error[PRINT_ERROR_SIZE];
	bool restarted;
	int status = read_options(&request, argc, argv);

	if (status >= 0)
		return status;
	if (enable_plan(&plan, &request.enable, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	if (enable_write(&plan, request.dry, &change, error, sizeof(error)) != 0) {
		enable_plan_free(&plan);
		return cli_fail(CLI_FAILURE, "%s", error);
	}
	restarted = request.restart && !request.dry;
	status = restarted ? restart(&request, &plan) : 0;
	if (status == 0)
		status = (request.json ? print_json : print_text)(&request, &plan, change,
								  restarted);
	enable_plan_free(&plan);
	return status;
}
