/* SPDX-License-Identifier: MIT
 *
 * What `twshim enable` and `disable` do to a unit: a plan first, which looks at
 * everything and changes nothing, then its files. `enabled` asks for what is there.
 */
#ifndef TWS_TOOLS_ENABLE_H
#define TWS_TOOLS_ENABLE_H

#include "config/complaint.h"
#include "tools/launch/reach.h"
#include "tools/systemd/unit.h"

#define ENABLE_COMMANDS	   8 /* ExecStart= lines that are looked at */
#define ENABLE_NOTES	   8
#define ENABLE_NOTE_SIZE   512
#define ENABLE_POLICY_NAME "50-twshim.policy"

struct enable_request {
	struct unit_place place;
	const char *name;    /* as typed */
	const char *policy;  /* a file; NULL: observe only */
	const char *library; /* as the unit sees it; NULL: to be found */
	bool runtime;	     /* until the next boot */
};

struct enable_command {
	char path[PATH_MAX]; /* as ExecStart= names it, specifiers expanded */
	struct reach reach;
};

struct enable_plan {
	struct unit unit;
	struct reach_user user;
	bool user_known;
	char library[PATH_MAX];
	char twshim[PATH_MAX];
	char preload[UNIT_VALUE_SIZE]; /* what the unit sets itself */
	char directory[PATH_MAX];      /* UNIT.d, with the root */
	char dropin_path[PATH_MAX + 32];
	char policy_path[PATH_MAX + 32];
	char *dropin;
	char *policy; /* NULL: none */
	/* Of the policy: what `policy check` warns of. */
	struct tws_complaints complaints;
	struct enable_command commands[ENABLE_COMMANDS];
	size_t command_count;
	bool observed; /* the shim does not reach it: it is observed through the kernel */
	/* What it comes to that is not plain from the text. */
	char notes[ENABLE_NOTES][ENABLE_NOTE_SIZE];
	size_t note_count;
};

/* Looks at the unit and says what would be done. 0, or -1 with a one-line reason and its
 * cure: there is no such unit, the shim would not reach it, its policy is wrong. */
int enable_plan(struct enable_plan *ret_plan, const struct enable_request *request,
		char *ret_error, size_t size);

void enable_plan_free(struct enable_plan *plan);

/* The parts of a plan. ------------------------------------------------------------- */

/* Where the next note is written, of ENABLE_NOTE_SIZE; the last one's, if there is no
 * room for more. */
char *enable_note(struct enable_plan *plan);

/* Whether the unit's programs can be reached: fills commands, adds notes. 0 or -1. */
int enable_check(struct enable_plan *plan, const struct enable_request *request,
		 char *ret_error, size_t size);

/* The setting by which the unit can't see a file: "ProtectHome=yes"; NULL: it can. Pure.
 */
const char *enable_hidden_by(const struct unit *unit, const char *path);

/* Lets the loader load the program with the library, as the user, without running it.
 * True; or false with why not. */
bool enable_try(const char *program, const char *library, const struct reach_user *user,
		char *ret_why, size_t size);

/* The files. ----------------------------------------------------------------------- */

enum enable_change { ENABLE_UNCHANGED, ENABLE_MADE, ENABLE_REPLACED, ENABLE_REMOVED };

/* Puts the plan's files in place, each whole or not at all. 0 with what became of the
 * drop-in or of the policy (the greater change), or -1 with a reason. `dry`: only says
 * so. */
int enable_write(const struct enable_plan *plan, bool dry, enum enable_change *ret_change,
		 char *ret_error, size_t size);

/* Removes exactly what enable made in UNIT.d. 0 (also where nothing is there), or -1:
 * something of that name is not ours, or was edited since. */
int enable_remove(const char *directory, bool dry, enum enable_change *ret_change,
		  char *ret_error, size_t size);

#endif
