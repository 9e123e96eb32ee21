/* SPDX-License-Identifier: MIT
 *
 * `twshim policy`: checks, explains, loads, shows and clears policies.
 */
#include "tools/cmd_policy.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/policy/actions.h"

enum option_id {
	OPTION_DIR = 256,
	OPTION_EXE,
	OPTION_TO,
	OPTION_UID,
	OPTION_JSON,
	OPTION_MARKDOWN,
};

/* The options, each with its bit in a subcommand's set. */
static const struct option LONG_OPTIONS[] = {
    {"dir", required_argument, NULL, OPTION_DIR},
    {"exe", required_argument, NULL, OPTION_EXE},
    {"to", required_argument, NULL, OPTION_TO},
    {"uid", required_argument, NULL, OPTION_UID},
    {"json", no_argument, NULL, OPTION_JSON},
    {"markdown", no_argument, NULL, OPTION_MARKDOWN},
    {"policy", required_argument, NULL, 'p'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct subcommand {
	const char *name;
	const char *arguments;
	const char *help;
	bool takes_policy; /* FILE, -p or both */
	bool or_in_force;  /* without them: the policy that is */
	int (*run)(const struct policy_options *options);
	const char *options; /* names of the options it takes, beside --help */
};

/* ------------------------------------------------------------- command line */

static const struct subcommand SUBCOMMANDS[] = {
    {"check", "[FILE]", "print its errors, or the rules that it comes to", true, false,
     policy_check, "policy json"},
    {"explain", "[FILE] --exe X --to A:P", "say which rule decides a connection, and why",
     true, true, policy_explain, "policy exe to uid dir json"},
    {"load", "[FILE]", "put it in force, also in running processes", true, false,
     policy_load, "policy dir json"},
    {"show", "", "print the policy in force", false, false, policy_show, "dir json"},
    {"clear", "", "take the policy out of force: observe only", false, false,
     policy_clear, "dir json"},
    {"settings", "", "list all settings of the language", false, false, policy_settings,
     "json markdown"},
};

#define SUBCOMMAND_COUNT (sizeof(SUBCOMMANDS) / sizeof(*SUBCOMMANDS))

static const struct {
	const char *name, *text;
} OPTION_HELP[] = {
    {"policy", "  -p, --policy RULE  a rule of one line, as close=fin-reset,to=*:443; "
	       "stands before FILE's,\n                     or in place of it\n"},
    {"exe", "      --exe PATH     the program that connects\n"},
    {"to", "      --to A:P       where to: 10.0.0.7:6379, [fd00::1]:6379\n"},
    {"uid", "      --uid USER     as whom; default: you\n"},
    {"dir", "      --dir DIR      the run-time directory; default: $TWSHIM_DIR, or as "
	    "`twshim run`\n"},
    {"json", "      --json         one JSON object\n"},
    {"markdown", "      --markdown     the manual's table\n"},
};

/* Whether a subcommand takes the option of that name. */
static bool takes(const struct subcommand *subcommand, const char *name)
{
	const char *at = subcommand->options;
	size_t length = strlen(name);

	while ((at = strstr(at, name)) != NULL) {
		if ((at == subcommand->options || at[-1] == ' ') &&
		    (at[length] == ' ' || at[length] == '\0'))
			return true;
		at += length;
	}
	return false;
}

static int help(void)
{
	puts("Usage: twshim policy SUBCOMMAND ...\n\n"
	     "Checks, explains and swaps the policy that says how programs close.\n");
	for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
		printf("  %-8s %-24s %s\n", SUBCOMMANDS[i].name, SUBCOMMANDS[i].arguments,
		       SUBCOMMANDS[i].help);
	puts("\n`twshim policy SUBCOMMAND --help` tells each one's options.");
	return cli_finish_output();
}

static int help_subcommand(const struct subcommand *subcommand)
{
	printf("Usage: twshim policy %s [OPTION]...%s%s\n\n%s.\n\n", subcommand->name,
	       *subcommand->arguments ? " " : "", subcommand->arguments,
	       subcommand->help);
	if (subcommand->or_in_force)
		puts("Without FILE and -p it is about the policy in force.\n");
	for (size_t i = 0; i < sizeof(OPTION_HELP) / sizeof(*OPTION_HELP); i++)
		if (takes(subcommand, OPTION_HELP[i].name))
			fputs(OPTION_HELP[i].text, stdout);
	puts("      --help         this text\n\n"
	     "Exit status: 0 done, 1 failure or errors in the policy, 2 usage.");
	return cli_finish_output();
}

/* The long option's name of a value that getopt returned. */
static const char *option_name(int value)
{
	for (const struct option *option = LONG_OPTIONS; option->name; option++)
		if (option->val == value)
			return option->name;
	return "";
}

static int set_option(struct policy_options *options, int value)
{
	switch (value) {
	case OPTION_DIR:
		options->directory = optarg;
		return 0;
	case OPTION_EXE:
		options->exe = optarg;
		return 0;
	case OPTION_TO:
		options->to = optarg;
		return 0;
	case OPTION_UID:
		options->uid = optarg;
		return 0;
	case OPTION_JSON:
		options->json = true;
		return 0;
	case OPTION_MARKDOWN:
		options->markdown = true;
		return 0;
	default:
		if (options->rule_count == TWS_RULES)
			return policy_fail(
			    POLICY_USAGE,
			    "-p: too many rules: at most %d fit: leave some out",
			    TWS_RULES);
		options->rules[options->rule_count++] = optarg;
		return 0;
	}
}

/* FILE, where the subcommand takes one. */
static int take_operands(const struct subcommand *subcommand,
			 struct policy_options *options, int argc, char **argv)
{
	if (optind < argc && subcommand->takes_policy)
		options->file = argv[optind++];
	if (optind < argc)
		return policy_fail(
		    POLICY_USAGE,
		    "policy %s: \"%s\" is one argument too many: see twshim "
		    "policy %s --help",
		    subcommand->name, argv[optind], subcommand->name);
	if (subcommand->takes_policy && !subcommand->or_in_force && !options->file &&
	    !options->rule_count)
		return policy_fail(
		    POLICY_USAGE,
		    "policy %s: FILE is missing: name a policy file, or give "
		    "a rule with -p",
		    subcommand->name);
	return 0;
}

static int run(const struct subcommand *subcommand, int argc, char **argv)
{
	struct policy_options options = {0};
	int value, status = 0;

	optind = 0;
	opterr = 0;
	while (status == 0 &&
	       (value = getopt_long(argc, argv, ":p:h", LONG_OPTIONS, NULL)) != -1) {
		if (value == 'h')
			return help_subcommand(subcommand);
		if (value == ':')
			return policy_fail(
			    POLICY_USAGE,
			    "policy %s: %s needs a value: see twshim policy "
			    "%s --help",
			    subcommand->name, argv[optind - 1], subcommand->name);
		if (value == '?' || !takes(subcommand, option_name(value)))
			return policy_fail(POLICY_USAGE,
					   "policy %s: %s is no option of it: see twshim "
					   "policy %s --help",
					   subcommand->name, argv[optind - 1],
					   subcommand->name);
		status = set_option(&options, value);
	}
	if (status == 0)
		status = take_operands(subcommand, &options, argc, argv);
	if (status == 0)
		status = subcommand->run(&options);
	return status ? status : cli_finish_output();
}

int cmd_policy(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		return help();
	for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
		if (strcmp(SUBCOMMANDS[i].name, name) == 0)
			return run(&SUBCOMMANDS[i], argc - 1, argv + 1);
	if (argc < 2)
		return policy_fail(POLICY_USAGE,
				   "policy: a subcommand is missing: choose check, "
				   "explain, load, show, clear or settings");
	return policy_fail(
	    POLICY_USAGE,
	    "policy: \"%s\" is no subcommand: choose check, explain, load, "
	    "show, clear or settings",
	    name);
}
