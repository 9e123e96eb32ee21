/* SPDX-License-Identifier: MIT
 *
 * What every command line has: errors of one line, options from one table that is also
 * their help and says where each value goes, and a guess at what was meant.
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

	/* Puts the value, which is in optarg, into the field at `offset` of the command's
	 * request. Returns 0, or the exit status after it has printed what is wrong. */
	int (*take)(const struct cli_option *option, void *field);
	size_t offset;

	unsigned most;		  /* cli_take_number: the greatest allowed */
	const char *const *words; /* cli_take_choice: those allowed, ends with NULL */
};

/* What `take` can be; the type of the field is named behind each. */
int cli_take_flag(const struct cli_option *option, void *field);   /* bool */
int cli_take_text(const struct cli_option *option, void *field);   /* const char * */
int cli_take_color(const struct cli_option *option, void *field);  /* enum print_color */
int cli_take_number(const struct cli_option *option, void *field); /* unsigned */
int cli_take_count(const struct cli_option *option, void *field);  /* uint64_t, not 0 */
int cli_take_choice(const struct cli_option *option, void *field); /* int, an index */

/* Rows that many commands have. */
#define CLI_JSON(request, field, schema)                                                 \
	{                                                                                \
		"json", 0, NULL, "one JSON object, schema twshim." schema,               \
		    cli_take_flag, .offset = offsetof(request, field)                    \
	}
#define CLI_COLOR(request, field)                                                        \
	{                                                                                \
		"color", 0, "WHEN", "auto (default), always, never", cli_take_color,     \
		    .offset = offsetof(request, field)                                   \
	}

#define CLI_ANY ((unsigned)-1)

/* A command: rows end with a name of NULL; --help need not be among them. */
struct cli_command {
	const char *name;     /* "run" */
	const char *operands; /* "[--] COMMAND [ARGUMENT]..."; "": none */
	const char *summary;  /* lines that end with '\n' */
	const char *notes;    /* after the options, likewise; NULL: none */
	const struct cli_option *options;
	unsigned most_operands; /* CLI_ANY: no limit */
	int usage_status;	/* after a wrong command line; 0: CLI_USAGE */
	bool stop_at_word;	/* what follows the first operand is not ours */
};

#define CLI_GO_ON (-1)

/* Alone, it prints the table of options: completions/ makes shell completions of it. */
#define CLI_PRINT_OPTIONS "--print-options"

/* Reads the options into the fields of `request` that the table names, and counts the
 * operands. CLI_GO_ON: operands begin at optind; else the exit status, which is 0 where
 * help was asked for. */
int cli_read(const struct cli_command *command, int argc, char **argv, void *request);

/* The exit status after a wrong command line. */
int cli_usage_status(const struct cli_command *command);

/* Prints the examples of a command; --help ends with them. */
void cli_print_examples(const char *command);

/* Whether the word is a process's number. */
bool cli_is_pid(const char *word, pid_t *ret_pid);

/* The one of `count` words that `word` may be a misspelling of; NULL: none is near. */
const char *cli_nearest(const char *word, const char *const *words, size_t count);

/* Ends a command that printed to stdout: flushes. 0, or CLI_FAILURE after it has printed
 * the reason to stderr. */
int cli_finish_output(void);

#endif
