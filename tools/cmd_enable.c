/* SPDX-License-Identifier: MIT
 *
 * twshim enable: preloads the shim into a systemd service by a drop-in. Checks first
 * whether the shim can reach the service. If it can't, the service is observed in another
 * way, or nothing is changed.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/base/json.h"
#include "tools/segments/prepare.h"
#include "tools/systemd/enable.h"
#include "tools/systemd/unit_command.h"
#include "tools/policy/actions.h"
#include "tools/policy/store.h"
#include "tools/base/print.h"

struct request {
	struct enable_request enable;
	struct unit_command common;
};

static const struct cli_option OPTIONS[] = {
    {"config", 'c', "FILE",
     "its policy: copied beside the drop-in, loaded at each\n"
     "start; default: observe only",
     cli_take_text, .offset = offsetof(struct request, enable.policy.source.file)},
    POLICY_RULE_OPTION(struct request, enable.policy),
    UNIT_DRY_OPTION(struct request, common, "print the files, and change nothing"),
    UNIT_RESTART_OPTION(struct request, common),
    {"runtime", 0, NULL, "until the next boot: below /run", cli_take_flag,
     .offset = offsetof(struct request, enable.runtime)},
    UNIT_USER_OPTION(struct request, common,
		     "a unit of your own systemd (systemctl --user)"),
    UNIT_ROOT_OPTION(struct request, common),
    {"library", 0, "FILE", "libtwshim.so as the unit sees it", cli_take_text,
     .offset = offsetof(struct request, enable.library)},
    CLI_JSON(struct request, common.json, "enable/1"),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "enable",
    .operands = "UNIT",
    .summary =
	"Preloads the shim into a systemd service, from its next start on, by a "
	"drop-in\n(UNIT.d/50-twshim.conf). Checks first whether the shim can reach "
	"it. The unit's own file\nstays as it is, and what it puts into LD_PRELOAD "
	"stays before the shim.\nA program that the shim does not reach is observed "
	"through the kernel, and nothing in its unit\nis changed; with a policy, or "
	"with --user, twshim exec starts it, beside a supervisor.\n",
    .notes = "Exit status: 0 the unit is enabled (or already was), 1 it is not, and the "
	     "reason is printed,\n2 usage.\n",
    .options = OPTIONS,
    .most_operands = 1,
};

static const char *const CHANGES[] = {
    [ENABLE_UNCHANGED] = "unchanged",
    [ENABLE_MADE] = "made",
    [ENABLE_REPLACED] = "replaced",
    [ENABLE_REMOVED] = "removed",
};

/* CLI_GO_ON, or the exit status. */
static int enable_read_options(struct request *request, int argc, char **argv)
{
	int status = unit_command_read(&COMMAND, argc, argv, request, &request->common);

	if (status != CLI_GO_ON)
		return status;
	if (optind == argc)
		return cli_fail(CLI_USAGE, "enable: UNIT is missing: name one, as in "
					   "twshim enable redis-server.service");
	request->enable.name = argv[optind];
	request->enable.place = request->common.place;
	return CLI_GO_ON;
}

/* --------------------------------------------------------------------------- output */

static json_t *enable_commands_array(const struct enable_plan *plan)
{
	json_t *ret = json_array();

	for (size_t i = 0; i < plan->command_count; i++) {
		const struct reach *reach = &plan->commands[i].reach;

		json_array_append_new(
		    ret, json_pack("{s:o, s:o, s:s, s:b, s:o}", "command",
				   print_json_text(plan->commands[i].path), "executable",
				   print_json_text(reach->path), "verdict",
				   reach_name(reach->verdict), "reached",
				   reach_is_reached(reach->verdict), "why",
				   print_json_text(reach->why)));
	}
	return ret;
}

static int enable_print_json(const struct request *request,
			     const struct enable_plan *plan, enum enable_change change,
			     bool restarted)
{
	json_t *notes = json_array(), *object;
	bool changed = change != ENABLE_UNCHANGED;

	for (size_t i = 0; i < plan->note_count; i++)
		json_array_append_new(notes, print_json_text(plan->notes[i]));
	object = json_pack(
	    "{s:s, s:o, s:b, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o, "
	    "s:o, s:b, s:b}",
	    "schema", "twshim.enable/1", "unit", print_json_text(plan->unit.name),
	    "dry_run", request->common.dry, "change", CHANGES[change], "drop_in",
	    print_json_text(plan->dropin_path), "text", print_json_text(plan->dropin),
	    "policy", plan->policy ? print_json_text(plan->policy_path) : json_null(),
	    "library", print_json_text(plan->library), "commands",
	    enable_commands_array(plan), "restarted", restarted, "restart_needed",
	    changed && !restarted && !request->common.dry, "notes", notes, "warnings",
	    policy_json_complaints(&plan->complaints, true), "observed", plan->observed,
	    "supervised", plan->supervised);
	if (print_json(stdout, object, JSON_INDENT(1)) != 0)
		return cli_fail(CLI_FAILURE, "enable: %s", strerror(ENOMEM));
	return cli_finish_output();
}

static void enable_print_file(const char *path, const char *content)
{
	printf("# %s\n%s", path, content);
}

static int enable_print_text(const struct request *request,
			     const struct enable_plan *plan, enum enable_change change,
			     bool restarted)
{
	const char *user = request->common.place.user ? "--user " : "";

	if (request->common.dry) {
		enable_print_file(plan->dropin_path, plan->dropin);
		if (plan->policy) {
			putchar('\n');
			enable_print_file(plan->policy_path, plan->policy);
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
	else if (!request->common.dry && change != ENABLE_UNCHANGED &&
		 !*request->common.place.root)
		printf("In force from its next start: systemctl %sdaemon-reload && "
		       "systemctl %srestart %s\n",
		       user, user, plan->unit.name);
	return cli_finish_output();
}

int cmd_enable(int argc, char **argv)
{
	static struct enable_plan plan;
	struct request request = {0};
	enum enable_change change;
	char error[PRINT_ERROR_SIZE];
	bool restarted;
	int status = enable_read_options(&request, argc, argv);

	if (status != CLI_GO_ON)
		return status;
	if (enable_plan(&plan, &request.enable, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	if (enable_write(&plan, request.common.dry, &change, error, sizeof(error)) != 0) {
		enable_plan_free(&plan);
		return cli_fail(CLI_FAILURE, "%s", error);
	}
	if (!request.common.dry && !request.common.place.user &&
	    !*request.common.place.root)
		prepare_places();
	restarted = request.common.restart && !request.common.dry;
	status = restarted ? unit_command_restart(&request.common, plan.unit.name,
						  "the drop-in is in place")
			   : 0;
	if (status == 0)
		status = (request.common.json ? enable_print_json : enable_print_text)(
		    &request, &plan, change, restarted);
	enable_plan_free(&plan);
	return status;
}
