/* SPDX-License-Identifier: MIT
 *
 * twshim prepare: root makes the places where programs publish, for a user who is not in
 * /etc/passwd as well.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/shared/rundir.h"
#include "tools/base/cli.h"
#include "tools/segments/prepare.h"

static const struct cli_option OPTIONS[] = {{0}};

static const struct cli_command COMMAND = {
    .name = "prepare",
    .operands = "[UID]...",
    .summary =
	"Makes the places where programs publish: the tmpfs " TWS_SYSTEM_DIRECTORY
	" and in it one\ndirectory for root, for each user in /etc/passwd and for each "
	"UID. Only root can do this.\nThe commands with which root starts programs do it "
	"as well.\n",
    .options = OPTIONS,
    .most_operands = CLI_ANY,
};

static int prepare_fail(const char *what, int error)
{
	if (error == -EBUSY)
		return cli_fail(
		    CLI_FAILURE,
		    "%s: something that is not root's, or not a directory, is "
		    "in its place: remove it",
		    what);
	if (error == -EPERM)
		return cli_fail(CLI_FAILURE,
				"%s: " TWS_SYSTEM_DIRECTORY " is not a tmpfs of its own: "
				"mount one there, or let programs of this user "
				"publish in /dev/shm",
				what);
	return cli_fail(CLI_FAILURE,
			"%s: %s: see that " TWS_SYSTEM_DIRECTORY " is a tmpfs", what,
			strerror(-error));
}

static int prepare_one(const char *word)
{
	char *end;
	unsigned long user = strtoul(word, &end, 10);
	int result;

	if (*word < '0' || *word > '9' || *end || user >= (unsigned long)(uid_t)-1)
		return cli_fail(CLI_USAGE, "prepare: %s: not a user ID: give a number",
				word);
	result = prepare_user((uid_t)user);
	return result ? prepare_fail(word, result) : 0;
}

int cmd_prepare(int argc, char **argv)
{
	char nothing;
	int status = cli_read(&COMMAND, argc, argv, &nothing);
	int result;

	if (status != CLI_GO_ON)
		return status;
	if (geteuid() != 0)
		return cli_fail(CLI_FAILURE,
				"prepare: only root can make these places: programs of "
				"this user publish in /dev/shm without it");
	result = prepare_places();
	status = result ? prepare_fail(TWS_SYSTEM_DIRECTORY, result) : 0;
	for (int i = optind; i < argc && status == 0; i++)
		status = prepare_one(argv[i]);
	return status ? status : cli_finish_output();
}
