/* SPDX-License-Identifier: MIT
 *
 * twshim owners: whose the TIME_WAIT sockets of this host are.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/base/memory.h"
#include "tools/model/owners.h"
#include "tools/base/print.h"

enum { OPTION_ALL, OPTION_JSON, OPTION_DIR, OPTION_COLOR };

static const struct cli_option OPTIONS[] = {
    [OPTION_ALL] = {"all", 'a', NULL, "print one line per socket"},
    [OPTION_JSON] = {"json", 0, NULL, "one JSON object, schema twshim.owners/1"},
    [OPTION_DIR] = {"dir", 0, "DIR", "read this run-time directory"},
    [OPTION_COLOR] = {"color", 0, "WHEN", "auto (default), always, never"},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "owners",
    .operands = "",
    .summary =
	"Shows which application and process left each TIME_WAIT socket of this "
	"network\nnamespace, its destination, and when it leaves. Sockets of programs "
	"without the shim\nare unowned. Needs no root.\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

struct request {
	bool all, json;
	const char *dir;
	enum print_color color;
};

static int set_option(void *data, int option)
{
	struct request *request = data;

	switch (option) {
	case OPTION_ALL:
		request->all = true;
		return 0;
	case OPTION_JSON:
		request->json = true;
		return 0;
	case OPTION_DIR:
		return cli_take_dir(&request->dir);
	default:
		return cli_take_color(&request->color);
	}
}

static int read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, set_option, request);

	return status == CLI_GO_ON ? cli_no_operand(&COMMAND, argc, argv) : status;
}

static int print(const struct request *request, const struct model *model)
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
	int status = read_options(&request, argc, argv);

	if (status >= 0)
		return status;
	memory_prefer_huge_pages();
	options.dir = request.dir;
	if (model_build(&model, &options, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	if (model->has_table)
		status = print(&request, model);
	else
		status =
		    cli_fail(CLI_FAILURE,
			     "owners: %s: without it nothing is known about TIME_WAIT",
			     model->table_error);
	model_free(model);
	return status;
}
