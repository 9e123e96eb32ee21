/* SPDX-License-Identifier: MIT */
#include "tools/base/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/shared/text.h"

#define OPTIONS_MAX    32
#define HELP_VALUE     512
#define VALUE_FIRST    256 /* getopt's value of row 0: beyond any letter */
#define HELP_COLUMN    24
#define EXAMPLE_COLUMN 8

int cli_fail(int status, const char *format, ...)
{
	char line[PRINT_ERROR_SIZE], safe[2 * PRINT_ERROR_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	fprintf(stderr, "twshim: %s\n", print_escape(safe, sizeof(safe), line));
	return status;
}

/* ----------------------------------------------------------------------- help */

/* Prints one option; the lines of its help are aligned. */
static void print_option(const struct cli_option *option)
{
	char letter[] = {'-', option->letter, ',', '\0'};
	char left[128];
	const char *line = option->help, *end;
	int width =
	    snprintf(left, sizeof(left), "  %3s --%s%s%s", option->letter ? letter : "",
		     option->name, option->argument ? " " : "",
		     option->argument ? option->argument : "");

	printf("%-*s", HELP_COLUMN, left);
	if (width >= HELP_COLUMN)
		printf("\n%*s", HELP_COLUMN, "");
	for (end = strchr(line, '\n'); end; end = strchr(line, '\n')) {
		printf("%.*s\n%*s", (int)(end - line), line, HELP_COLUMN, "");
		line = end + 1;
	}
	puts(line);
}

void cli_print_examples(const char *command)
{
	static const struct {
		const char *command, *what, *words;
	} EXAMPLES[] = {
#define EXAMPLE(command, what, words) {command, what, words},
#include "tools/base/examples.def"
	};

	puts("\nExamples:");
	for (size_t i = 0; i < sizeof(EXAMPLES) / sizeof(*EXAMPLES); i++)
		if (strcmp(EXAMPLES[i].command, command) == 0)
			printf("  %s\n%*s%s\n", EXAMPLES[i].words, EXAMPLE_COLUMN, "",
			       EXAMPLES[i].what);
}

static void print_help(const struct cli_command *command)
{
	static const struct cli_option help = {.name = "help", .help = "this text"};

	printf("Usage: twshim %s [OPTION]...%s%s\n\n%s\n", command->name,
	       *command->operands ? " " : "", command->operands, command->summary);
	for (const struct cli_option *option = command->options; option->name; option++)
		print_option(option);
	print_option(&help);
	if (command->notes)
		printf("\n%s", command->notes);
	cli_print_examples(command->name);
}

/* --------------------------------------------------- the table, for completions */

/* The words that an option takes, separated by blanks. */
static void print_words(const struct cli_option *option)
{
	static const char *const colors[] = {"auto", "always", "never", NULL};
	const char *const *words =
	    option->take == cli_take_color ? colors : option->words;

	for (size_t i = 0; words && words[i]; i++)
		printf("%s%s", i ? " " : "", words[i]);
}

/* In one line. */
static void print_joined(const char *help)
{
	for (; *help; help++)
		putchar(*help == '\n' ? ' ' : *help);
}

/* One row per option, the columns separated by tabs: name, letter, argument, words, help.
 * The row before them is the operands. */
static void print_table(const struct cli_command *command)
{
	printf("%s\n", command->operands);
	for (const struct cli_option *option = command->options; option->name; option++) {
		printf("%s\t%.1s\t%s\t", option->name,
		       option->letter ? &option->letter : "",
		       option->argument ? option->argument : "");
		print_words(option);
		putchar('\t');
		print_joined(option->help);
		putchar('\n');
	}
	puts("help\t\t\t\tthis text");
}

/* -------------------------------------------------------------------- options */

struct getopt_tables {
	char letters[3 + 2 * OPTIONS_MAX];
	struct option longs[OPTIONS_MAX + 2];
};

/* Translates the table for getopt_long(). */
static void translate(const struct cli_command *command, struct getopt_tables *tables)
{
	size_t letter = 0, row = 0;

	if (command->stop_at_word)
		tables->letters[letter++] = '+';
	tables->letters[letter++] = ':';
	for (; row < OPTIONS_MAX && command->options[row].name; row++) {
		const struct cli_option *option = &command->options[row];

		tables->longs[row] = (struct option){
		    option->name, option->argument ? required_argument : no_argument,
		    NULL, VALUE_FIRST + (int)row};
		if (option->letter)
			tables->letters[letter++] = option->letter;
		if (option->letter && option->argument)
			tables->letters[letter++] = ':';
	}
	tables->letters[letter] = '\0';
	tables->longs[row] = (struct option){"help", no_argument, NULL, HELP_VALUE};
	tables->longs[row + 1] = (struct option){NULL, 0, NULL, 0};
}

static int row_of(const struct cli_command *command, int value)
{
	if (value >= VALUE_FIRST)
		return value - VALUE_FIRST;
	for (int row = 0; command->options[row].name; row++)
		if (command->options[row].letter == value)
			return row;
	return -1;
}

int cli_usage_status(const struct cli_command *command)
{
	return command->usage_status ? command->usage_status : CLI_USAGE;
}

/* The long option that a word such as --polcy or --polcy=X may stand for. */
static const char *nearest_option(const struct cli_command *command, const char *word)
{
	const char *names[OPTIONS_MAX + 1] = {"help"};
	char name[64];
	size_t count = 1;

	if (strncmp(word, "--", 2) != 0)
		return NULL;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	for (size_t row = 0; command->options[row].name; row++)
		names[count++] = command->options[row].name;
	return cli_nearest(name, names, count);
}

static int refuse_unknown(const struct cli_command *command, const char *word)
{
	const char *meant = nearest_option(command, word);

	if (meant)
		return cli_fail(cli_usage_status(command),
				"%s: unknown option %s: did you mean --%s?",
				command->name, word, meant);
	return cli_fail(cli_usage_status(command),
			"%s: unknown option %s: see twshim %s --help", command->name,
			word, command->name);
}

/* Names what getopt refused: by its letter, or as it stands on the command line. */
static int refuse_option(const struct cli_command *command, int value, char **argv)
{
	const char letter[] = {'-', (char)optopt, '\0'};
	bool is_letter = optopt > 0 && optopt < VALUE_FIRST;
	const char *word = is_letter ? letter : argv[optind - 1];

	if (value == '?' && optopt < VALUE_FIRST)
		return refuse_unknown(command, word);
	return cli_fail(cli_usage_status(command), "%s: %s %s: see twshim %s --help",
			command->name, word,
			value == ':' ? "needs a value" : "takes no value", command->name);
}

static int take_option(const struct cli_command *command, int value, void *request)
{
	const struct cli_option *option = &command->options[row_of(command, value)];
	int status = option->take(option, (char *)request + option->offset);

	return status == CLI_USAGE ? cli_usage_status(command) : status;
}

static int count_operands(const struct cli_command *command, int argc, char **argv)
{
	unsigned count = (unsigned)(argc - optind);

	if (count <= command->most_operands)
		return CLI_GO_ON;
	return cli_fail(cli_usage_status(command),
			"%s: unexpected argument %s: see twshim %s --help", command->name,
			argv[(unsigned)optind + command->most_operands], command->name);
}

int cli_read(const struct cli_command *command, int argc, char **argv, void *request)
{
	struct getopt_tables tables;
	int value, status;

	if (argc == 2 && strcmp(argv[1], CLI_PRINT_OPTIONS) == 0) {
		print_table(command);
		return cli_finish_output();
	}
	translate(command, &tables);
	optind = 0;
	opterr = 0;
	optopt = 0;
	while ((value = getopt_long(argc, argv, tables.letters, tables.longs, NULL)) !=
	       -1) {
		if (value == '?' || value == ':')
			return refuse_option(command, value, argv);
		if (value == HELP_VALUE) {
			print_help(command);
			return cli_finish_output();
		}
		status = take_option(command, value, request);
		if (status != 0)
			return status;
	}
	return count_operands(command, argc, argv);
}

/* --------------------------------------------------------------------- values */

int cli_take_flag(const struct cli_option *option, void *field)
{
	*(bool *)field = true;
	return 0;
}

int cli_take_text(const struct cli_option *option, void *field)
{
	*(const char **)field = optarg;
	return 0;
}

int cli_take_color(const struct cli_option *option, void *field)
{
	if (print_color_parse(optarg, field) == 0)
		return 0;
	return cli_fail(CLI_USAGE, "--%s %s: must be auto, always or never", option->name,
			optarg);
}

/* False: optarg is not a whole number from `least` to `most`. */
static bool parse_option_number(uint64_t least, uint64_t most, uint64_t *ret_number)
{
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(optarg, &end, 10);
	if (*optarg < '0' || *optarg > '9' || *end || errno || number < least ||
	    number > most)
		return false;
	*ret_number = number;
	return true;
}

int cli_take_number(const struct cli_option *option, void *field)
{
	uint64_t number;

	if (!parse_option_number(0, option->most, &number))
		return cli_fail(CLI_USAGE, "--%s %s: must be a number from 0 to %u",
				option->name, optarg, option->most);
	*(unsigned *)field = (unsigned)number;
	return 0;
}

int cli_take_count(const struct cli_option *option, void *field)
{
	if (parse_option_number(1, UINT64_MAX, field))
		return 0;
	return cli_fail(CLI_USAGE, "--%s %s: must be a number, 1 or more", option->name,
			optarg);
}

static int refuse_choice(const struct cli_option *option)
{
	char all[512] = "";
	size_t used = 0;

	for (size_t i = 0; option->words[i] && used < sizeof(all); i++)
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s",
					 !i			? ""
					 : option->words[i + 1] ? ", "
								: " or ",
					 option->words[i]);
	return cli_fail(CLI_USAGE, "--%s %s: must be %s", option->name, optarg, all);
}

int cli_take_choice(const struct cli_option *option, void *field)
{
	for (int i = 0; option->words[i]; i++)
		if (strcmp(option->words[i], optarg) == 0) {
			*(int *)field = i;
			return 0;
		}
	return refuse_choice(option);
}

bool cli_is_pid(const char *word, pid_t *ret_pid)
{
	char *end;
	long pid;

	errno = 0;
	pid = strtol(word, &end, 10);
	if (!*word || *end || errno || pid <= 0 || pid > INT32_MAX)
		return false;
	*ret_pid = (pid_t)pid;
	return true;
}

/* ---------------------------------------------------------------------- words */

const char *cli_nearest(const char *word, const char *const *words, size_t count)
{
	size_t length = strlen(word), best = length / 2 + 1;
	const char *ret = NULL;

	for (size_t i = 0; i < count; i++) {
		size_t now = tws_text_distance(word, length, words[i], strlen(words[i]));

		if (now < best && now < strlen(words[i])) {
			best = now;
			ret = words[i];
		}
	}
	/* php for php8.2 */
	for (size_t i = 0; !ret && length > 1 && i < count; i++)
		if (strncmp(word, words[i], length) == 0)
			ret = words[i];
	return ret;
}

int cli_finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return cli_fail(CLI_FAILURE, "standard output: %s", strerror(errno));
}
