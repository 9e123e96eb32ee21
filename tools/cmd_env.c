/* SPDX-License-Identifier: MIT
 *
 * twshim env: the environment of a plain preload, for a shell's eval or for systemd.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/launch/library.h"
#include "tools/launch/run_directory.h"
#include "tools/policy/store.h"
#include "tools/run_policy.h"
#include "tools/segments/dir_option.h"
#include "tools/segments/prepare.h"
#include "tools/segments/rundir.h"

struct request {
	struct policy_given given;
	bool systemd;
};

static const struct cli_option OPTIONS[] = {
    {"config", 'c', "FILE", "the policy of what gets this environment", cli_take_text,
     .offset = offsetof(struct request, given.source.file)},
    POLICY_RULE_OPTION(struct request, given),
    {"systemd", 0, NULL, "in the syntax of EnvironmentFile=", cli_take_flag,
     .offset = offsetof(struct request, systemd)},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "env",
    .operands = "",
    .summary = "Prints the environment that preloads the shim: eval \"$(twshim env)\"\n",
    .options = OPTIONS,
    .most_operands = CLI_ANY,
};

/* CLI_GO_ON, or the exit status. */
static int env_read_options(struct request *request, int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, request);

	if (status != CLI_GO_ON || optind == argc)
		return status;
	return cli_fail(CLI_USAGE,
			"env: unexpected argument %s: env starts nothing; to start a "
			"command under the shim use twshim run",
			argv[optind]);
}

static int env_check_directory(const char *directory)
{
	if (tws_rundir_check(directory) != -EXDEV)
		return 0;
	return cli_fail(CLI_FAILURE,
			"%s: not in memory, and programs would not publish there: set "
			"TWSHIM_DIR to a directory on a tmpfs",
			directory);
}

/* In single quotes, for a POSIX shell. */
static void env_print_quoted(const char *text)
{
	putchar('\'');
	for (; *text; text++)
		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*text);
	putchar('\'');
}

static void env_print_export(const char *name, const char *value)
{
	if (!*value)
		return;
	printf("export %s=", name);
	env_print_quoted(value);
	putchar('\n');
}

/* What is printed; empty: not. */
struct env_values {
	char library[PATH_MAX];
	const char *directory; /* TWSHIM_DIR, as it is set now */
	const char *tag;
};

/* Appends the library unless it is listed already, so that evaluating this twice does no
 * harm. Its path holds no blank, colon or newline; see library_find(). */
static void env_print_shell(const struct env_values *values)
{
	fputs("case \" ${LD_PRELOAD-} \" in *[\\ :]", stdout);
	env_print_quoted(library_preload(values->library));
	fputs("[\\ :]*) ;; *) LD_PRELOAD=\"${LD_PRELOAD:+$LD_PRELOAD:}\"", stdout);
	env_print_quoted(library_preload(values->library));
	fputs(" ;; esac\nexport LD_PRELOAD\n", stdout);
	env_print_export("TWSHIM_DIR", values->directory);
	env_print_export("TWSHIM_RUN", values->tag);
}

/* In double quotes: systemd understands these escapes, and expands nothing. */
static void env_print_assignment(const char *name, const char *value)
{
	if (!*value)
		return;
	printf("%s=\"", name);
	for (; *value; value++) {
		if (strchr("\"\\`$", *value))
			putchar('\\');
		putchar(*value);
	}
	puts("\"");
}

/* Without our own LD_PRELOAD, which concerns this shell and not the unit. */
static void env_print_systemd(const struct env_values *values)
{
	env_print_assignment("LD_PRELOAD", library_preload(values->library));
	env_print_assignment("TWSHIM_DIR", values->directory);
	env_print_assignment("TWSHIM_RUN", values->tag);
}

static int env_print(const struct request *request)
{
	char directory[PATH_MAX], error[PATH_MAX + 256];
	const char *given = getenv("TWSHIM_DIR");
	struct run_directory run = {.fd = -1};
	struct env_values values = {.directory = given ? given : "", .tag = run.tag};
	int result, status;

	if (library_find(values.library, sizeof(values.library), error, sizeof(error)) !=
	    0)
		return cli_fail(CLI_FAILURE, "%s", error);
	prepare_places();
	result = tws_rundir_find(directory, sizeof(directory));
	if (result != 0)
		return cli_fail(CLI_FAILURE,
				"the run-time directory: %s: set TWSHIM_DIR to an "
				"absolute path on a tmpfs",
				strerror(-result));
	status = env_check_directory(directory);
	if (status == 0 && policy_is_given(&request->given))
		status = run_policy_make(&run, &request->given.source);
	if (status != 0)
		return status;
	if (tws_rundir_check(directory) == -ENOSPC)
		dir_option_warn_full(directory);
	(request->systemd ? env_print_systemd : env_print_shell)(&values);
	return cli_finish_output();
}

int cmd_env(int argc, char **argv)
{
	struct request request = {0};
	int status = env_read_options(&request, argc, argv);

	return status >= 0 ? status : env_print(&request);
}
