/* SPDX-License-Identifier: MIT
 *
 * twshim policy: checks, explains, loads, shows and clears policies.
 */
#include "tools/commands.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/policy/actions.h"
#include "tools/run_policy.h"

#define RULE	 POLICY_RULE_OPTION(struct policy_options, given)
#define JSON(of) CLI_JSON(struct policy_options, json, of)

#define SYSTEM                                                                           \
	{                                                                                \
		"system", 0, NULL, "the policy of all users; default for root",          \
		    cli_take_flag, .offset = offsetof(struct policy_options, system)     \
	}

/* policy_load() makes the directory if there is none. */
#define DIR                                                                              \
	{                                                                                \
		"dir", 0, "DIR",                                                         \
		    "of the programs that publish there; default:\n"                     \
		    "$TWSHIM_DIR, or where your programs publish",                       \
		    cli_take_text, .offset = offsetof(struct policy_options, directory)  \
	}

#define RUN                                                                              \
	{                                                                                \
		"run", 0, "TAG",                                                         \
		    "of the processes with TWSHIM_RUN=TAG, as enable does\n"             \
		    "for a service",                                                     \
		    cli_take_text, .offset = offsetof(struct policy_options, run)        \
	}

static const struct cli_option CHECK[] = {RULE, JSON("policy-check/1"), {0}};
static const struct cli_option LOAD[] = {RULE, SYSTEM, DIR, RUN, JSON("policy-load/2"),
					 {0}};
static const struct cli_option SHOW[] = {DIR, JSON("policy/2"), {0}};
static const struct cli_option CLEAR[] = {SYSTEM, DIR, JSON("policy-load/2"), {0}};

static const struct cli_option EXPLAIN[] = {
    RULE,
    {"exe", 0, "PATH", "the program that connects", cli_take_text,
     .offset = offsetof(struct policy_options, exe)},
    {"app", 0, "NAME", "its application's name, as reports show it", cli_take_text,
     .offset = offsetof(struct policy_options, app)},
    {"unit", 0, "NAME", "its systemd unit", cli_take_text,
     .offset = offsetof(struct policy_options, unit)},
    {"container", 0, "NAME", "its container's name or short ID", cli_take_text,
     .offset = offsetof(struct policy_options, container)},
    {"to", 0, "A:P", "its destination: 10.0.0.7:6379, [fd00::1]:6379", cli_take_text,
     .offset = offsetof(struct policy_options, to)},
    {"uid", 0, "USER", "the user it runs as; default: you", cli_take_text,
     .offset = offsetof(struct policy_options, uid)},
    DIR,
    JSON("policy-explain/1"),
    {0},
};

static const struct cli_option SETTINGS[] = {
    JSON("policy-settings/1"),
    {"markdown", 0, NULL, "the manual's table", cli_take_flag,
     .offset = offsetof(struct policy_options, markdown)},
    {0},
};

static int load(const struct policy_options *options)
{
	if (!options->run)
		return policy_load(options);
	if (options->system || options->directory || options->json)
		return cli_fail(CLI_USAGE, "--run: it does not work with --system, --dir "
					   "or --json: leave it out");
	return run_policy_load(options->run, &options->given.source);
}

#define STATUS "Exit status: 0 done, 1 failure or errors in the policy, 2 usage.\n"

static const struct subcommand {
	const char *word;
	struct cli_command command;
	int (*run)(const struct policy_options *options);
	bool needs_policy; /* FILE, -p or both */
} SUBCOMMANDS[] = {
    {"check",
     {"policy check", "[FILE]",
      "Prints a policy's errors, or the rules that it amounts to.\n", STATUS,
      .options = CHECK, .most_operands = 1},
     policy_check,
     true},
    {"explain",
     {"policy explain", "[FILE] --exe X --to A:P",
      "Says which rule decides a connection, and why.\n",
      "Without FILE and -p, it explains the policy in force.\n" STATUS,
      .options = EXPLAIN, .most_operands = 1},
     policy_explain,
     false},
    {"load",
     {"policy load", "[FILE]", "Puts a policy in force, also in running processes.\n",
      "It becomes the user's policy, or for root the system's, which all users obey.\n"
      "Says which running processes it reaches. A run keeps a policy of its "
      "own.\n" STATUS,
      .options = LOAD, .most_operands = 1},
     load,
     true},
    {"show",
     {"policy show", "",
      "Prints the policy in force, since when, and which processes do not obey it yet.\n",
      STATUS, .options = SHOW},
     policy_show,
     false},
    {"clear",
     {"policy clear", "",
      "Takes the policy out of force, and says what is in force then.\n", STATUS,
      .options = CLEAR},
     policy_clear,
     false},
    {"settings",
     {"policy settings", "", "Lists all settings of the language.\n", STATUS,
      .options = SETTINGS},
     policy_settings,
     false},
};

#define SUBCOMMAND_COUNT (sizeof(SUBCOMMANDS) / sizeof(*SUBCOMMANDS))

/* The names of all subcommands, for an error. Returns `buffer`. */
static const char *policy_list(char *buffer, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < SUBCOMMAND_COUNT && used < size; i++)
		used += (size_t)snprintf(buffer + used, size - used, "%s%s",
					 !i			    ? ""
					 : i + 1 < SUBCOMMAND_COUNT ? ", "
								    : " or ",
					 SUBCOMMANDS[i].word);
	return buffer;
}

static int policy_help(void)
{
	puts("Usage: twshim policy SUBCOMMAND ...\n\n"
	     "Checks, explains and replaces the policy, which decides how programs close "
	     "connections.\n");
	for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
		printf("  %-8s %-24s %s", SUBCOMMANDS[i].word,
		       SUBCOMMANDS[i].command.operands, SUBCOMMANDS[i].command.summary);
	puts("\n`twshim policy SUBCOMMAND --help` shows the options of each.");
	cli_print_examples("policy");
	return cli_finish_output();
}

static int policy_run(const struct subcommand *subcommand, int argc, char **argv)
{
	struct policy_options options = {0};
	int status = cli_read(&subcommand->command, argc, argv, &options);

	if (status != CLI_GO_ON)
		return status;
	options.given.source.file = argv[optind];
	if (subcommand->needs_policy && !policy_is_given(&options.given))
		return cli_fail(CLI_USAGE,
				"%s: FILE is missing: name a policy file, or give a rule "
				"with -p",
				subcommand->command.name);
	status = subcommand->run(&options);
	return status ? status : cli_finish_output();
}

int cmd_policy(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	char all[128];

	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		return policy_help();
	for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
		if (strcmp(SUBCOMMANDS[i].word, word) == 0)
			return policy_run(&SUBCOMMANDS[i], argc - 1, argv + 1);
	policy_list(all, sizeof(all));
	if (argc < 2)
		return cli_fail(CLI_USAGE, "policy: a subcommand is missing: choose %s",
				all);
	return cli_fail(CLI_USAGE, "policy: %s: no such subcommand: choose %s", word,
			all);
}
