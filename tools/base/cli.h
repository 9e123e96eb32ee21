/* SPDX-License-Identifier: MIT
 *
 * What every command line has: errors of one line, long options from a table that is also
 * their help, and the suggestion of a word that was meant.
 */
#ifndef TWS_TOOLS_CLI_H
#define TWS_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tools/base/print.h"

#define CLI_FAILURE 1
#define CLI_USAGE   2

/* Prints "twshim: " and one line to stderr; returns `status`. */
int cli_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct cli_option {
	const char *name;     /* long */
	char letter;	      /* short; 0: none */
	const char *argument; /* what the help calls it; NULL: it takes none */
	const char *help;     /* lines, broken by '\n' */
};

/* A command: rows end with a name of NULL; --help need not be among them. */
struct cli_command {
	const char *name;     /* "run" */
	const char *operands; /* "[--] COMMAND [ARGUMENT]..."; "": none */
	const char *summary;  /* lines that end with '\n' */
	const char *notes;    /* after the options, likewise; NULL: none */
	const struct cli_option *options;
	int usage_status;  /* after a wrong command line */
	bool stop_at_word; /* what follows the first operand is not ours */
};

#define CLI_GO_ON (-1)

/* Reads the options: hands each to `set`, as its index in the table and its argument in
 * optarg; `set` returns 0, or the exit status once it has named what is wrong. CLI_GO_ON:
 * operands begin at optind; else the exit status, also 0 where help was asked for. */
int cli_read(const struct cli_command *command, int argc, char **argv,
	     int (*set)(void *request, int option), void *request);

/* After cli_read(), where the command has no operands. CLI_GO_ON, or the exit status. */
int cli_no_operand(const struct cli_command *command, int argc, char **argv);

/* A directory that --dir names: it must be there, and such that we may read it. 0, or the
 * exit status with the reason said. */
int cli_check_dir(const char *path);

/* For `set`: optarg as the value of --dir. The second is for what follows a directory and
 * finds one that is made later, too: it says that it waits for one. As cli_check_dir().
 */
int cli_take_dir(const char **ret_dir);
int cli_take_dir_to_come(const char **ret_dir);

/* Says of a run-time directory that it has no room left. No reason to refuse: it may have
 * room later. */
void cli_name_full(const char *directory);

/* For `set`: optarg as the value of --color, or as a number of at most `most`. 0, or the
 * exit status. */
int cli_take_color(enum print_color *ret_color);
int cli_take_number(const char *option, unsigned *ret_number, unsigned most);

/* Whether the word is a process's number. */
bool cli_is_pid(const char *word, pid_t *ret_pid);

void cli_help(const struct cli_command *command);

/* The one of `count` words that `word` may be a misspelling of; NULL: none is near. */
const char *cli_nearest(const char *word, const char *const *words, size_t count);

/* Ends a command that printed to stdout: flushes. 0, or CLI_FAILURE with the reason named
 * on stderr. */
int cli_finish_output(void);

#endif
