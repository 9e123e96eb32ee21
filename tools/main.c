/* SPDX-License-Identifier: MIT
 *
 * twshim: finds the subcommand and hands over. The table is in tools/commands.h.
 */
#include "shim/shared/clock.h"
#include "tools/commands.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/base/cli.h"

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

#define COUNT (sizeof(TABLE) / sizeof(*TABLE))

/* A descriptor that we open must not become 0, 1 or 2: what is printed would go there.
 * What was closed for us stays closed for those whom we start. */
static void occupy_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int usage(void)
{
	puts("Usage: twshim COMMAND ...\n\n"
	     "Shows which program leaves TIME_WAIT sockets behind, and changes how one\n"
	     "program closes its TCP connections, without touching it.\n");
	for (size_t i = 0; i < COUNT; i++)
		printf("  %-10s%s\n", TABLE[i].name, TABLE[i].help);
	puts(
	    "\n`twshim COMMAND --help` tells each one's options; --version the version.");
	return cli_finish_output();
}

static int version(void)
{
	puts("twshim " TWSHIM_VERSION);
	return cli_finish_output();
}

static int unknown(const char *word)
{
	const char *meant = cli_nearest(word, NAMES, COUNT);

	if (*word == '-')
		return cli_fail(CLI_USAGE, "%s: no such option: see twshim --help", word);
	if (meant)
		return cli_fail(CLI_USAGE, "%s: no such command: did you mean %s?", word,
				meant);
	return cli_fail(CLI_USAGE, "%s: no such command: see twshim --help", word);
}

static int dispatch(int argc, char **argv)
{
	for (size_t i = 0; i < COUNT; i++)
		if (strcmp(TABLE[i].name, argv[0]) == 0)
			return TABLE[i].function(argc, argv);
	return unknown(argv[0]);
}

static int help(int argc, char **argv)
{
	char option[] = "--help";
	char *asked[] = {argc > 1 ? argv[1] : NULL, option, NULL};

	return argc > 1 ? dispatch(2, asked) : usage();
}

int main(int argc, char **argv)
{
	occupy_standard_descriptors();
	tws_clock_begin();
	if (argc < 2)
		return cli_fail(CLI_USAGE, "a command is missing: see twshim --help");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return usage();
	if (strcmp(argv[1], "--version") == 0)
		return version();
	if (strcmp(argv[1], "help") == 0)
		return help(argc - 1, argv + 1);
	return dispatch(argc - 1, argv + 1);
}
