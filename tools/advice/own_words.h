/* SPDX-License-Identifier: MIT
 *
 * The cure in the words of the program itself, from one table.
 */
#ifndef TWS_TOOLS_ADVICE_OWN_WORDS_H
#define TWS_TOOLS_ADVICE_OWN_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#define OWN_WORDS_SIZE 1024

struct own_words {
	const char *program; /* a pattern of the executable's base name */
	const char *where;   /* what to change */
	const char *text;    /* lines; "TO": the destination */
	const char *source;  /* where its documentation says so */
};

/* The next row after `last` (NULL: the first) for this executable; NULL: there is none.
 * `is_go`: it is written in Go; without rows of its own name, its rows are Go's. */
const struct own_words *own_words_next(const struct own_words *last, const char *exe,
				       bool is_go);

/* Writes its text for a destination ("10.0.0.7:6379"; NULL or "": any). Returns `text`,
 * of OWN_WORDS_SIZE bytes. */
const char *own_words_text(char *text, const struct own_words *words, const char *to);

#endif
