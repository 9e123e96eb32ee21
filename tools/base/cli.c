/* SPDX-License-Identifier: MIT */
#include "tools/base/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/segments/rundir.h"

#define OPTIONS_MAX 32
#define HELP_VALUE  512
#define VALUE_FIRST 256 /* getopt's value of row 0: beyond any letter */
#define HELP_COLUMN 24
#define WHERE	    "twshim env prints where programs publish, as TWSHIM_DIR"

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

/* -------------------------------------------------------------------- options */

struct getopt_tables {
	char letters[3 + 2 * OPTIONS_MAX];
	struct option longs[OPTIONS_MAX + 2];
};

/* The table as getopt_long() wants it. */
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

/* Names what getopt refused: by its letter, or as it stands on the command line. */
static int refuse(const struct cli_command *command, int value, char **argv)
{
	const char letter[] = {'-', (char)optopt, '\0'};
	bool is_letter = optopt > 0 && optopt < VALUE_FIRST;
	const char *word = is_letter ? letter : argv[optind - 1];

	return cli_fail(
	    command->usage_status, "%s: %s %s: see twshim %s --help", command->name, word,
	    value == ':' ? "needs a value" : "is no option of it", command->name);
}

int cli_read(const struct cli_command *command, int argc, char **argv,
	     int (*set)(void *request, int option), void *request)
{
	struct getopt_tables tables;
	int value, status;

	translate(command, &tables);
	optind = 0;
	opterr = 0;
	optopt = 0;
	while ((value = getopt_long(argc, argv, tables.letters, tables.longs, NULL)) !=
	       -1) {
		if (value == '?' || value == ':')
			return refuse(command, value, argv);
		if (value == HELP_VALUE) {
			cli_help(command);
			return cli_finish_output();
		}
		status = set(request, row_of(command, value));
		if (status != 0)
			return status;
	}
	return CLI_GO_ON;
}

int cli_no_operand(const struct cli_command *command, int argc, char **argv)
{
	if (optind >= argc)
		return CLI_GO_ON;
	return cli_fail(command->usage_status,
			"%s: %s: it takes no operand: see twshim %s --help",
			command->name, argv[optind], command->name);
}

int cli_take_color(enum print_color *ret_color)
{
	if (print_color_parse(optarg, ret_color) == 0)
		return 0;
	return cli_fail(CLI_USAGE, "--color %s: no such way: auto, always or never",
			optarg);
}

static int refuse_dir(const char *path, int error)
{
	struct stat st;

	if (error == -ENOENT)
		return cli_fail(CLI_FAILURE,
				"--dir %s: there is no such directory: " WHERE, path);
	if (error == -ENOTDIR && lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		return cli_fail(CLI_FAILURE,
				"--dir %s: it is a link, and no link is followed: name "
				"what it leads to",
				path);
	if (error == -ENOTDIR)
		return cli_fail(CLI_FAILURE, "--dir %s: it is no directory: " WHERE,
				path);
	if (error == -EACCES)
		return cli_fail(CLI_FAILURE,
				"--dir %s: %s: read it as its owner or as root, or let "
				"your group in with readable_by_group in its policy",
				path, strerror(EACCES));
	return cli_fail(CLI_FAILURE, "--dir %s: %s: " WHERE, path, strerror(-error));
}

int cli_check_dir(const char *path)
{
	int fd = tws_rundir_open(path);

	if (fd < 0)
		return refuse_dir(path, fd);
	close(fd);
	return 0;
}

int cli_take_dir(const char **ret_dir)
{
	*ret_dir = optarg;
	return cli_check_dir(optarg);
}

int cli_take_dir_to_come(const char **ret_dir)
{
	struct stat st;

	*ret_dir = optarg;
	if (lstat(optarg, &st) == 0 || errno != ENOENT)
		return cli_check_dir(optarg);
	cli_fail(0, "--dir %s: there is no such directory yet: it is waited for; " WHERE,
		 optarg);
	return 0;
}

void cli_name_full(const char *directory)
{
	cli_fail(0,
		 "%s: no room is left on this tmpfs, and connections will not be "
		 "counted: make room there, or set TWSHIM_DIR to another",
		 directory);
}

int cli_take_number(const char *option, unsigned *ret_number, unsigned most)
{
	unsigned long number;
	char *end;

	errno = 0;
	number = strtoul(optarg, &end, 10);
	if (*optarg < '0' || *optarg > '9' || *end || errno || number > most)
		return cli_fail(CLI_USAGE, "--%s %s: no such number: 0 to %u", option,
				optarg, most);
	*ret_number = (unsigned)number;
	return 0;
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

/* ----------------------------------------------------------------------- help */

/* One option; the lines of its help stand below each other. */
static void help_option(const struct cli_option *option)
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

void cli_help(const struct cli_command *command)
{
	static const struct cli_option help = {"help", 0, NULL, "this text"};

	printf("Usage: twshim %s [OPTION]...%s%s\n\n%s\n", command->name,
	       *command->operands ? " " : "", command->operands, command->summary);
	for (const struct cli_option *option = command->options; option->name; option++)
		help_option(option);
	help_option(&help);
	if (command->notes)
		printf("\n%s", command->notes);
}

/* ---------------------------------------------------------------------- words */

static size_t least(size_t a, size_t b, size_t c)
{
	size_t smaller = a < b ? a : b;

	return smaller < c ? smaller : c;
}

/* Letters to insert, remove or change; words over 31 letters are as far as can be. */
static size_t distance(const char *a, const char *b)
{
	size_t row[32], length = strlen(b);

	if (length >= sizeof(row) / sizeof(*row))
		return SIZE_MAX;
	for (size_t j = 0; j <= length; j++)
		row[j] = j;
	for (size_t i = 1; *a; a++, i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= length; j++) {
			size_t above = row[j];

			row[j] =
			    least(above + 1, row[j - 1] + 1, diagonal + (*a != b[j - 1]));
			diagonal = above;
		}
	}
	return row[length];
}

const char *cli_nearest(const char *word, const char *const *words, size_t count)
{
	size_t best = strlen(word) / 2 + 1;
	const char *ret = NULL;

	for (size_t i = 0; i < count; i++) {
		size_t now = distance(word, words[i]);

		if (now < best && now < strlen(words[i])) {
			best = now;
			ret = words[i];
		}
	}
	return ret;
}

int cli_finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return cli_fail(CLI_FAILURE, "standard output: %s", strerror(errno));
}
