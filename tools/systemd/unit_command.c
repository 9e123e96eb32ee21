/* SPDX-License-Identifier: MIT */
#include "tools/systemd/unit_command.h"

#include <errno.h>
#include <getopt.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int unit_take_root(const struct cli_option *option, void *field)
{
	struct unit_place *place = field;
	size_t length = strlen(optarg);

	while (length > 0 && optarg[length - 1] == '/')
		optarg[--length] = '\0';
	place->root = optarg;
	if (length == 0 || access(optarg, R_OK | X_OK) == 0)
		return 0;
	return cli_fail(CLI_USAGE,
			"--%s %s: %s: name the top directory of an image, which you may "
			"read",
			option->name, optarg, strerror(errno));
}

int unit_command_read(const struct cli_command *command, int argc, char **argv,
		      void *request, struct unit_command *common)
{
	int status;

	common->place.root = "";
	status = cli_read(command, argc, argv, request);
	if (status != CLI_GO_ON)
		return status;
	if (common->place.user && *common->place.root)
		return cli_fail(CLI_USAGE,
				"%s: --user: it does not work with --root, whose users "
				"are not known here: leave one of them out",
				command->name);
	if (common->restart && *common->place.root)
		return cli_fail(CLI_USAGE,
				"%s: --restart: nothing runs in --root %s: leave one of "
				"them out",
				command->name, common->place.root);
	return CLI_GO_ON;
}

/* `systemctl [--user] VERB [UNIT]`. Its exit status; 127 where there is no systemctl. */
static int run_systemctl(bool user, char *verb, char *unit)
{
	char *arguments[5] = {"systemctl"};
	size_t count = 1;
	int status;
	pid_t child;

	if (user)
		arguments[count++] = "--user";
	arguments[count++] = verb;
	arguments[count++] = unit;
	if (posix_spawnp(&child, "systemctl", NULL, NULL, arguments, environ) != 0)
		return 127;
	while (waitpid(child, &status, 0) != child)
		if (errno != EINTR)
			return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int unit_command_restart(const struct unit_command *common, const char *unit,
			 const char *done)
{
	int status = run_systemctl(common->place.user, "daemon-reload", NULL);

	if (status == 0)
		status =
		    run_systemctl(common->place.user, "restart", (char *)(uintptr_t)unit);
	if (status == 0)
		return 0;
	return cli_fail(CLI_FAILURE, "%s: %s, but it was not restarted: systemctl %s",
			unit, done, status == 127 ? "is not installed" : "failed");
}
