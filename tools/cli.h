/* SPDX-License-Identifier: MIT
 *
 * What every command line has: errors of one line, long options from a table that is also
 * their help, and the suggestion of a word that was meant.
 */
#ifndef TWS_TOOLS_CLI_H
#define TWS_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>

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

#define CLI_END	    (-1) /* no option is left: operands begin at optind */
#define CLI_HELP    (-2) /* help was asked for and printed */
#define CLI_INVALID (-3) /* a wrong option, named on stderr */

/* Reads the next option. Its index in the table, with its argument in optarg, or one of
 * the above. Set optind to 0 before the first call. */
int cli_next(const struct cli_command *command, int argc, char **argv);

void cli_help(const struct cli_command *command);

/* The one of `count` words that `word` may be a misspelling of; NULL: none is near. */
const char *cli_nearest(const char *word, const char *const *words, size_t count);

/* Ends a command that printed to stdout: flushes. 0, or CLI_FAILURE with the reason named
 * on stderr. */
int cli_finish_output(void);

#endif
