/* SPDX-License-Identifier: MIT
 *
 * Popular claims, and how each is tried. A row of the table is a claim, one or two
 * cases, and the judge that looks at their results.
 */
#ifndef TWS_TOOLS_LAB_MYTHS_H
#define TWS_TOOLS_LAB_MYTHS_H

#include "tools/lab/result.h"

#define MYTH_CASES 2
#define MYTH_NOTE  240

enum myth_verdict { MYTH_FALSE, MYTH_TRUE, MYTH_NOT_TESTABLE };

struct myth {
	const char *claim;
	struct lab_case cases[MYTH_CASES]; /* up to the first without a name */
	/* Writes what happened, or why it can't be tried here, into `note`. */
	enum myth_verdict (*judge)(const struct lab_case *cases, char note[MYTH_NOTE]);
};

/* Bodies of cases; each leaves its numbers in the board's `figure`. */

/* [0] TIME_WAIT sockets on the listening port, [1] connections accepted beside them. */
int myth_accept(const struct lab_case *what, struct lab_board *board);

/* [0] bit 1: old listener had SO_REUSEADDR, bit 0: the new one has; set in 1 << that:
 * the new one could bind. */
int myth_restart(const struct lab_case *what, struct lab_board *board);

/* [0] the source port, [1] what column 3 of ss shows, [2] what column 4 does; [3] 1:
 * there is an ss. */
int myth_ss(const struct lab_case *what, struct lab_board *board);

/* [0] value of the sysctl that the case is named for, [1] 1: it exists. */
int myth_sysctl(const struct lab_case *what, struct lab_board *board);

/* [0] bytes a TIME_WAIT socket takes, [1] 1: it can be known. */
int myth_memory(const struct lab_case *what, struct lab_board *board);

#endif
