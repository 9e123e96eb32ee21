/* SPDX-License-Identifier: MIT
 *
 * The cure of a finding as numbered steps: what to type now, how to make it last, and how
 * to undo it, for this program, this destination and the way in which it runs. Pure.
 */
#ifndef TWS_TOOLS_ADVICE_STEPS_H
#define TWS_TOOLS_ADVICE_STEPS_H

#include "tools/advice/advice.h"
#include "tools/advice/own_words.h"
#include "tools/kernel/origin.h"

/* The program that a finding is about. */
struct advice_way {
	const char *exe; /* its executable; NULL: not known */
	struct origin origin;
	bool by_shim;	  /* it runs, or ran, under the shim */
	bool is_go;	  /* the shim does not reach it */
	bool has_policy;  /* a policy is in force, which `policy load` would replace */
	bool discreet;	  /* show no command line, which may contain secrets */
	const char *dir;  /* the run-time directory that was asked for; NULL: none */
	const char *ring; /* ports for a port_ring; NULL: none outside the range */
};

enum advice_step_kind {
	STEP_NOTE,    /* nothing to type */
	STEP_COMMAND, /* for a shell */
	STEP_CRONTAB, /* for a shell, in a crontab */
	STEP_CHANGE   /* lines for the program's own configuration or code */
};

struct advice_step {
	enum advice_step_kind kind;
	char text[192];
	char typed[OWN_WORDS_SIZE]; /* a command, or lines */
};

#define ADVICE_STEPS	 16
#define ADVICE_RULE_SIZE 320

/* Writes the rule that the advice of a finding names first. False: it names none, or it
 * does not fit. */
bool advice_rule_of(const struct advice_finding *finding, char *ret_rule, size_t size);

/* Writes the steps of a finding's cure, at most ADVICE_STEPS. Returns how many. */
size_t advice_steps(struct advice_step *ret_steps, const struct advice_finding *finding,
		    const struct advice_way *way);

#endif
