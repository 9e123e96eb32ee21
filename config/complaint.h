/* SPDX-License-Identifier: MIT
 *
 * Errors and warnings about a policy text, with their cures. config/ prints nothing: it
 * fills these structs, and the tools print them as FILE:LINE: what: cure.
 */
#ifndef TWS_CONFIG_COMPLAINT_H
#define TWS_CONFIG_COMPLAINT_H

#include <stdbool.h>
#include <stddef.h>

#include "shim/shared/segment.h"

/* One error or warning. Control characters in the inserted text become '?'. */
struct tws_problem {
	char what[256];
	char cure[256];
};

struct tws_complaint {
	char *file; /* "-p" for a one-line rule */
	unsigned line;
	bool warning;
	struct tws_problem problem;
};

/* Start with zeros; free with tws_complaints_free(). Complaints are in the order of
 * the text. */
struct tws_complaints {
	struct tws_complaint *list;
	size_t count;  /* in `list`; a complaint for which there was no memory is counted
			  in `errors` only */
	size_t errors; /* all that are not warnings */
	/* The lines where the text's arms begin, for complaints that are found after
	 * compiling (an image holds the lines of rules only). 0 means unknown. */
	unsigned arm_line[TWS_ARMS];
};

/* Sets `what` or `cure`. Arguments are those of printf(). */
void tws_problem_what(struct tws_problem *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void tws_problem_cure(struct tws_problem *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends a copy. */
void tws_complain(struct tws_complaints *complaints, const char *file, unsigned line,
		  bool warning, const struct tws_problem *problem);

void tws_complaints_free(struct tws_complaints *complaints);

/* Finds the word of `words` ("first|second|third") that is nearest to `word`, if it is
 * near enough to be meant. Returns its length, or 0 if there is none. */
size_t tws_nearest_word(const char *word, const char *words, const char **ret_word);

#endif
