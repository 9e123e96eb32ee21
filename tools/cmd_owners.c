/* SPDX-License-Identifier: MIT
 *
 * twshim owners: shows which program owns each TIME_WAIT socket of this host.
 */
#include "tools/commands.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/base/memory.h"
#include "tools/model/group.h"
#include "tools/model/listeners.h"
#include "tools/model/owners.h"
#include "tools/base/print.h"
#include "tools/cold.h"
#include "tools/report/sightings.h"
#include "tools/segments/dir_option.h"

struct request {
	bool all, json;
	int by;
	const char *dir;
	enum print_color color;
	unsigned sample;
};

static const struct cli_option OPTIONS[] = {
    {"all", 'a', NULL, "one line per socket", cli_take_flag,
     .offset = offsetof(struct request, all)},
    MODEL_BY_OPTION(struct request, by),
    CLI_JSON(struct request, json, "owners/1"),
    COLD_OPTION(struct request, sample),
    DIR_OPTION(struct request, dir),
    CLI_COLOR(struct request, color),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "owners",
    .operands = "",
    .summary =
	"Shows which application and process left each TIME_WAIT socket of this "
	"network\nnamespace, to which destination, and when it goes away. Sockets of "
	"programs that ran\nwithout the shim are unowned; if there are any, it looks for "
	"two "
	"seconds which programs\nconnect to the same destinations: as root through the "
	"kernel, "
	"otherwise in /proc.\nRoot is not needed.\n",
    .options = OPTIONS,
};

/* `cold` NULL: nobody was looked for. */
static int owners_print(const struct request *request, const struct owners *owners,
			const struct cold *cold)
{
	bool color = print_color_wanted(request->color, stdout);
	int result;

	if (request->json)
		result = owners_print_json(stdout, owners, request->all,
					   cold ? &cold->sightings : NULL);
	else
		result = owners_print_text(owners, request->all, color);
	if (result != 0)
		return cli_fail(CLI_FAILURE, "owners: %s", strerror(-result));
	if (cold && !request->json)
		sightings_print_text(stdout, &cold->sightings, owners, color);
	return cli_finish_output();
}

/* Reads and groups. 0, or the exit status after it has printed the reason. */
static int owners_read(const struct request *request, struct model **ret_model,
		       struct owners *ret_owners)
{
	const struct model_options options = {
	    .dir = request->dir,
	    .by = request->by,
	    .states = KERNEL_STATE(TCP_TIME_WAIT) | KERNEL_STATE(TCP_LISTEN),
	    .owners_only = true,
	};
	char error[PRINT_ERROR_SIZE];
	int result;

	if (model_build(ret_model, &options, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	if (!(*ret_model)->has_table)
		return cli_fail(
		    CLI_FAILURE,
		    "owners: %s: TIME_WAIT sockets can't be listed without it",
		    (*ret_model)->table_error);
	result = owners_group(ret_owners, *ret_model);
	if (result == 0)
		result = listeners_name(ret_owners);
	return result == 0 ? 0 : cli_fail(CLI_FAILURE, "owners: %s", strerror(-result));
}

int cmd_owners(int argc, char **argv)
{
	struct request request = {.color = PRINT_COLOR_AUTO, .sample = COLD_SECONDS};
	struct owners owners = {0};
	struct model *model = NULL;
	struct cold cold = {.directory.fd = -1, .lock = -1};
	bool looked = false;
	int status = cli_read(&COMMAND, argc, argv, &request);

	if (status != CLI_GO_ON)
		return status;
	memory_prefer_huge_pages();
	status = owners_read(&request, &model, &owners);
	if (status == 0)
		looked = cold_look(&cold, &owners, request.sample, request.json);
	if (looked) {
		owners_free(&owners);
		model_free(model);
		model = NULL;
		status = owners_read(&request, &model, &owners);
	}
	if (status == 0)
		status = owners_print(&request, &owners, looked ? &cold : NULL);
	owners_free(&owners);
	model_free(model);
	cold_finish(&cold);
	return status;
}
