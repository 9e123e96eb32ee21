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
#include "tools/model/owners.h"
#include "tools/base/print.h"
#include "tools/segments/dir_option.h"

struct request {
	bool all, json;
	const char *dir;
	enum print_color color;
};

static const struct cli_option OPTIONS[] = {
    {"all", 'a', NULL, "one line per socket", cli_take_flag,
     .offset = offsetof(struct request, all)},
    CLI_JSON(struct request, json, "owners/1"),
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
	"programs that ran\nwithout the shim are unowned. Root is not needed.\n",
    .options = OPTIONS,
};

static int owners_print(const struct request *request, const struct model *model)
{
	struct owners owners;
	int result = owners_group(&owners, model);

	if (result == 0)
		result =
		    request->json
			? owners_print_json(stdout, &owners, request->all)
			: owners_print_text(&owners, request->all,
					    print_color_wanted(request->color, stdout));
	owners_free(&owners);
	if (result != 0)
		return cli_fail(CLI_FAILURE, "owners: %s", strerror(-result));
	return cli_finish_output();
}

int cmd_owners(int argc, char **argv)
{
	struct request request = {.color = PRINT_COLOR_AUTO};
	struct model_options options = {
	    .states = KERNEL_STATE(TCP_TIME_WAIT) | KERNEL_STATE(TCP_LISTEN),
	    .owners_only = true,
	};
	struct model *model = NULL;
	char error[PRINT_ERROR_SIZE];
	int status = cli_read(&COMMAND, argc, argv, &request);

	if (status != CLI_GO_ON)
		return status;
	memory_prefer_huge_pages();
	options.dir = request.dir;
	if (model_build(&model, &options, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	if (model->has_table)
		status = owners_print(&request, model);
	else
		status =
		    cli_fail(CLI_FAILURE,
			     "owners: %s: TIME_WAIT sockets can't be listed without it",
			     model->table_error);
	model_free(model);
	return status;
}
