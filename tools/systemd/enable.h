/* SPDX-License-Identifier: MIT
 *
 * What `twshim enable` and `disable` do to a unit. First a plan, which looks at
 * everything and changes nothing; then its files. `enabled` asks what is there.
 */
#ifndef TWS_TOOLS_ENABLE_H
#define TWS_TOOLS_ENABLE_H

#include "config/complaint.h"
#include "tools/launch/reach.h"
#include "tools/policy/store.h"
#include "tools/systemd/unit.h"

#define ENABLE_COMMANDS	   8 /* ExecStart= lines that are looked at */
#define ENABLE_NOTES	   8
#define ENABLE_NOTE_SIZE   512
#define ENABLE_POLICY_NAME "50-twshim.policy"

struct enable_request {
	struct unit_place place;
	const char *name;	    /* as typed */
	struct policy_given policy; /* nothing given: observe only */
	const char *library;	    /* the path as the unit sees it; NULL: to be found */
	bool runtime;		    /* until the next boot */
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
	/* The warnings of `policy check` about the policy. */
	struct tws_complaints complaints;
	struct enable_command commands[ENABLE_COMMANDS];
	size_t command_count;
	/* The shim does not reach it: it is observed through the kernel, or twshim exec
	 * starts it beside a supervisor. */
	bool observed, supervised;
	/* Notes about consequences that the text does not show. */
	char notes[ENABLE_NOTES][ENABLE_NOTE_SIZE];
	size_t note_count;
};

/* Examines the unit and says what would be done. Returns 0, or -1 with a one-line
 * reason and its cure: the unit does not exist, the shim would not reach it, or its
 * policy is wrong. */
int enable_plan(struct enable_plan *ret_plan, const struct enable_request *request,
		char *ret_error, size_t size);

void enable_plan_free(struct enable_plan *plan);

/* The parts of a plan. ------------------------------------------------------------- */

/* The place for the next note, of ENABLE_NOTE_SIZE bytes; the place of the last one if
 * there is no room for more. */
char *enable_note(struct enable_plan *plan);

/* Checks whether the unit's programs can be reached: fills in commands and adds notes.
 * Returns 0 or -1. */
int enable_check(struct enable_plan *plan, const struct enable_request *request,
		 char *ret_error, size_t size);

/* Finds a program that ExecStart= names without a path, as the unit sees it. */
bool enable_find_program(const struct enable_plan *plan, const struct unit_place *place,
			 const char *name, char ret_path[PATH_MAX]);

/* Checks whether twshim exec can start the unit's programs, and adds notes. Returns 0 or
 * -1. */
int enable_check_exec(struct enable_plan *plan, char *ret_error, size_t size);

/* The ExecStart= lines for that, malloc()ed. `policy`: its path as the unit sees it, or
 * NULL. NULL: out of memory. */
char *enable_exec_text(const struct enable_plan *plan, const struct unit_place *place,
		       const char *policy);

/* The setting that hides a file from the unit, such as "ProtectHome=yes"; NULL: it is
 * visible. Pure. */
const char *enable_hidden_by(const struct unit *unit, const char *path);

/* Whether a setting whose values are paths names the path or one above it. Pure. */
bool enable_names_parent(const struct unit *unit, const char *setting, const char *path);

/* Lets the loader load the program with the library, as the user, without running it.
 * True if that works; false with the reason if not. */
bool enable_try(const char *program, const char *library, const struct reach_user *user,
		char *ret_why, size_t size);

/* The files. ----------------------------------------------------------------------- */

enum enable_change { ENABLE_UNCHANGED, ENABLE_MADE, ENABLE_REPLACED, ENABLE_REMOVED };

/* Writes the plan's files, each as a whole or not at all. Returns 0 with what happened
 * to the drop-in or to the policy (the greater change), or -1 with a reason. `dry`:
 * only says what would happen. */
int enable_write(const struct enable_plan *plan, bool dry, enum enable_change *ret_change,
		 char *ret_error, size_t size);

/* Removes exactly what enable made in UNIT.d. Returns 0, also if nothing is there, or
 * -1 if something of that name is not ours or was edited. */
int enable_remove(const char *directory, bool dry, enum enable_change *ret_change,
		  char *ret_error, size_t size);

#endif
