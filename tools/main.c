/* SPDX-License-Identifier: MIT
 *
 * twshim: finds the subcommand and calls it. The table is in tools/commands.h.
 */
#include "tools/exec_helper.h"
#include "tools/commands.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/base/cli.h"
#include "tools/base/version.h"
#include "tools/report/status.h"

#define COMMAND(name, help) {#name, cmd_##name, help},
static const struct {
	const char *name;
	int (*function)(int argc, char **argv);
	const char *help;
} TABLE[] = {COMMANDS(COMMAND)};
#undef COMMAND

#define COMMAND(name, help) #name,
static const char *const NAMES[] = {COMMANDS(COMMAND)};
#undef COMMAND

#define COMMAND_COUNT (sizeof(TABLE) / sizeof(*TABLE))

/* A descriptor that we open must not become 0, 1 or 2, or what we print would go into it.
 * Descriptors that were closed for us stay closed for the programs that we start. */
static void occupy_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int print_usage(void)
{
	puts("Usage: twshim COMMAND ...\n"
	     "       twshim     on a terminal: how this host is, and what to do next\n\n"
	     "Shows which program leaves TIME_WAIT sockets behind, and changes how one\n"
	     "program closes its TCP connections, without touching it.\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("  %-10s%s\n", TABLE[i].name, TABLE[i].help);
	puts("\n`twshim COMMAND --help` shows its options; --version shows the version.");
	return cli_finish_output();
}

static int print_version(void)
{
	char libc[32];

	printf("twshim %s\ncommit %s\nABI %s of segments, %s of policies\n%s\n",
	       TWSHIM_VERSION, version_commit, version_segment_abi, version_policy_abi,
	       version_libc(libc, sizeof(libc)));
	return cli_finish_output();
}

static int refuse_command(const char *word)
{
	const char *meant = cli_nearest(word, NAMES, COMMAND_COUNT);

	if (*word == '-')
		return cli_fail(CLI_USAGE, "unknown option %s: see twshim --help", word);
	if (meant)
		return cli_fail(CLI_USAGE, "%s: no such command: did you mean %s?", word,
				meant);
	return cli_fail(CLI_USAGE, "%s: no such command: see twshim --help", word);
}

static int run_command(int argc, char **argv)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(TABLE[i].name, argv[0]) == 0)
			return TABLE[i].function(argc, argv);
	return refuse_command(argv[0]);
}

static int run_help(int argc, char **argv)
{
	char option[] = "--help";
	char *asked[] = {argc > 1 ? argv[1] : NULL, option, NULL};

	return argc > 1 ? run_command(2, asked) : print_usage();
}

int main(int argc, char **argv)
{
	int status = exec_helper(argv);

	if (status >= 0)
		return status;
	version_commit = TWSHIM_COMMIT;
	occupy_standard_descriptors();
	tws_clock_begin();
	if (argc < 2 && isatty(STDOUT_FILENO))
		return status_print(print_color_wanted(PRINT_COLOR_AUTO, stdout));
	if (argc < 2)
		return cli_fail(CLI_USAGE, "a command is missing: see twshim --help");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return print_usage();
	if (strcmp(argv[1], "--version") == 0)
		return print_version();
	if (strcmp(argv[1], "help") == 0)
		return run_help(argc - 1, argv + 1);
	return run_command(argc - 1, argv + 1);
}
