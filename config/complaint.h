/* SPDX-License-Identifier: MIT
 *
 * What is wrong with a policy text, and what to do about it. config/ prints nothing: it
 * fills these, and the tools print them as FILE:LINE: what: cure.
 */
#ifndef TWS_CONFIG_COMPLAINT_H
#define TWS_CONFIG_COMPLAINT_H

#include <stdbool.h>
#include <stddef.h>

#include "shim/shared/segment.h"

/* One thing that is wrong. Control characters in what is put in become '?'. */
struct tws_problem {
	char what[256];
	char cure[256];
};

struct tws_complaint {
	char *file; /* "-p" for a rule of one line */
	unsigned line;
	bool warning;
	struct tws_problem problem;
};

/* Start with zeros; free with tws_complaints_free(). In the order of the text. */
struct tws_complaints {
	struct tws_complaint *list;
	size_t count;  /* of `list`; what finds no memory is only counted in errors */
	size_t errors; /* those that are no warnings */
	/* Where the text's arms begin, for who finds more to complain of once it is
	 * compiled: an image has the lines of rules only. 0: not known. */
	unsigned arm_line[TWS_ARMS];
};

/* Sets `what` or `cure`, as printf. */
void tws_problem_what(struct tws_problem *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void tws_problem_cure(struct tws_problem *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends a copy. */
void tws_complain(struct tws_complaints *complaints, const char *file, unsigned line,
		  bool warning, const struct tws_problem *problem);

void tws_complaints_free(struct tws_complaints *complaints);

/* The word of `words` ("first|second|third") nearest to `word`, if it is near enough to
 * be meant. Returns its length, 0 where none is. */
size_t tws_nearest_word(const char *word, const char *words, const char **ret_word);

#endif
