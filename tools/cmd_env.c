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
#include <string.h>

#include "tools/base/cli.h"
#include "tools/launch/library.h"
#include "tools/policy/store.h"
#include "tools/segments/rundir.h"

enum { OPTION_FILE, OPTION_RULE, OPTION_SYSTEMD };

static const struct cli_option OPTIONS[] = {
    [OPTION_FILE] = {"config", 'c', "FILE",
		     "put this policy in force in the run-time directory"},
    [OPTION_RULE] = {"policy", 'p', "RULE",
		     "a rule of one line, as close=fin-reset,to=*:443;\n"
		     "stands before FILE's; may be repeated"},
    [OPTION_SYSTEMD] = {"systemd", 0, NULL, "in the syntax of EnvironmentFile="},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "env",
    .operands = "",
    .summary = "Prints the environment that preloads the shim: eval \"$(twshim env)\"\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

struct request {
	const char *rules[TWS_RULES];
	struct tws_source source;
	bool systemd;
};

static int set_option(void *data, int option)
{
	struct request *request = data;

	if (option == OPTION_SYSTEMD) {
		request->systemd = true;
		return 0;
	}
	if (option == OPTION_FILE) {
		request->source.file = optarg;
		return 0;
	}
	if (request->source.rule_count == TWS_RULES)
		return cli_fail(CLI_USAGE,
				"-p: too many rules: at most %d fit: leave some out",
				TWS_RULES);
	request->rules[request->source.rule_count++] = optarg;
	return 0;
}

/* CLI_GO_ON, or the exit status. */
static int read_options(struct request *request, int argc, char **argv)
{
	int status;

	request->source.rules = request->rules;
	status = cli_read(&COMMAND, argc, argv, set_option, request);
	if (status != CLI_GO_ON)
		return status;
	if (optind < argc)
		return cli_fail(
		    CLI_USAGE,
		    "env: \"%s\" is one argument too many: it starts nothing; "
		    "see twshim run",
		    argv[optind]);
	return CLI_GO_ON;
}

static int check_directory(const char *directory)
{
	if (tws_rundir_check(directory) != -EXDEV)
		return 0;
	return cli_fail(CLI_FAILURE,
			"%s: not in memory, and programs would not publish there: set "
			"TWSHIM_DIR to a directory on a tmpfs",
			directory);
}

static int store_policy(const struct request *request, const char *directory)
{
	struct tws_complaints complaints = {0};
	int result = tws_policy_install(&request->source, directory, &complaints);

	tws_policy_print_complaints(stderr, &complaints);
	if (result != 0 && !complaints.errors)
		tws_policy_fail_store(0, directory, result, "TWSHIM_DIR");
	tws_complaints_free(&complaints);
	return result ? CLI_FAILURE : 0;
}

/* In single quotes, for a POSIX shell. */
static void print_quoted(const char *text)
{
	putchar('\'');
	for (; *text; text++)
		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*text);
	putchar('\'');
}

/* Appends where it is not listed yet: evaluating it twice is as good as once. The
 * library's path holds no blank, colon, dollar sign or newline; see library_find(). */
static void print_shell(const char *library, const char *directory)
{
	fputs("case \" ${LD_PRELOAD-} \" in *[\\ :]", stdout);
	print_quoted(library);
	fputs("[\\ :]*) ;; *) LD_PRELOAD=\"${LD_PRELOAD:+$LD_PRELOAD:}\"", stdout);
	print_quoted(library);
	fputs(" ;; esac\nexport LD_PRELOAD\nexport TWSHIM_DIR=", stdout);
	print_quoted(directory);
	putchar('\n');
}

/* In double quotes, of which systemd knows the escapes; it expands nothing. */
static void print_assignment(const char *name, const char *value)
{
	printf("%s=\"", name);
	for (; *value; value++) {
		if (strchr("\"\\`$", *value))
			putchar('\\');
		putchar(*value);
	}
	puts("\"");
}

/* Our own LD_PRELOAD is this shell's affair, not the unit's. */
static void print_systemd(const char *library, const char *directory)
{
	print_assignment("LD_PRELOAD", library);
	print_assignment("TWSHIM_DIR", directory);
}

static int print_environment(const struct request *request)
{
	char library[PATH_MAX], directory[PATH_MAX], error[PATH_MAX + 256];
	int result, status;

	if (library_find(library, sizeof(library), error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	result = tws_rundir_find(directory, sizeof(directory));
	if (result != 0)
		return cli_fail(CLI_FAILURE,
				"the run-time directory: %s: set TWSHIM_DIR to an "
				"absolute path on a tmpfs",
				strerror(-result));
	status = check_directory(directory);
	if (status == 0 && (request->source.file || request->source.rule_count))
		status = store_policy(request, directory);
	if (status != 0)
		return status;
	if (tws_rundir_check(directory) == -ENOSPC)
		cli_name_full(directory);
	(request->systemd ? print_systemd : print_shell)(library, directory);
	return cli_finish_output();
}

int cmd_env(int argc, char **argv)
{
	struct request request = {0};
	int status = read_options(&request, argc, argv);

	return status >= 0 ? status : print_environment(&request);
}
