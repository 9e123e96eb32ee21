/* SPDX-License-Identifier: MIT
 *
 * Whether the shim can get into a unit's programs: what systemd's settings and what
 * the executables allow.
 */
#include "tools/systemd/enable.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/launch/library.h"
#include "tools/systemd/exec_line.h"
#include "tools/systemd/filter.h"

#define COMMAND_ERROR_SIZE (PATH_MAX + 1024)

#define STANDARD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define FEW	      8 /* system calls that are named */

/* ------------------------------------------------------------------- what hides it */

static bool is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	while (length > 1 && directory[length - 1] == '/')
		length--;
	return strncmp(path, directory, length) == 0 &&
	       (length == 1 || path[length] == '/' || !path[length]);
}

/* Settings whose values are paths: "-/path", "+/path", "/path:options". */
bool enable_names_parent(const struct unit *unit, const char *setting, const char *path)
{
	char word[UNIT_VALUE_SIZE];
	const char *value;
	size_t at = 0;

	while ((value = unit_next(unit, setting, &at)) != NULL)
		while (unit_word(&value, word, sizeof(word)) == 1) {
			char *start = word + strspn(word, "-+");

			start[strcspn(start, ":")] = '\0';
			if (*start == '/' && is_below(path, start))
				return true;
		}
	return false;
}

static bool hides_home(const struct unit *unit)
{
	const char *value = unit_value(unit, "ProtectHome");

	return unit_is_on(unit, "ProtectHome") ||
	       (value && strcmp(value, "tmpfs") == 0) || unit_is_on(unit, "DynamicUser");
}

const char *enable_hidden_by(const struct unit *unit, const char *path)
{
	if (unit_value(unit, "RootDirectory"))
		return "RootDirectory=";
	if (unit_value(unit, "RootImage"))
		return "RootImage=";
	if (enable_names_parent(unit, "BindReadOnlyPaths", path) ||
	    enable_names_parent(unit, "BindPaths", path))
		return NULL;
	if ((unit_is_on(unit, "PrivateTmp") || unit_is_on(unit, "DynamicUser")) &&
	    (is_below(path, "/tmp") || is_below(path, "/var/tmp")))
		return "PrivateTmp=";
	/* DynamicUser= implies ProtectHome=read-only, which hides nothing. */
	if (hides_home(unit) && !unit_is_on(unit, "DynamicUser") &&
	    (is_below(path, "/home") || is_below(path, "/root") ||
	     is_below(path, "/run/user")))
		return "ProtectHome=";
	if (enable_names_parent(unit, "InaccessiblePaths", path))
		return "InaccessiblePaths=";
	if (enable_names_parent(unit, "TemporaryFileSystem", path))
		return "TemporaryFileSystem=";
	return NULL;
}

/* ------------------------------------------------- what takes the environment away */

static bool sets_preload(const char *path)
{
	char *text = unit_read_text(path), *next = text, *line;
	bool ret = false;

	while (text && !ret && (line = strsep(&next, "\n")) != NULL) {
		line += strspn(line, " \t");
		ret = strncmp(line, "LD_PRELOAD=", strlen("LD_PRELOAD=")) == 0;
	}
	free(text);
	return ret;
}

/* A file of EnvironmentFile= that sets LD_PRELOAD, which counts more than Environment=.
 */
static bool find_preload_file(const struct unit *unit, const struct unit_place *place,
			      char *ret_path, size_t size)
{
	char expanded[PATH_MAX], pattern[2 * PATH_MAX];
	const char *value;
	bool ret = false;
	size_t at = 0;
	glob_t found;

	while (!ret && (value = unit_next(unit, "EnvironmentFile", &at)) != NULL) {
		if (!unit_expand(unit, place, value, expanded, sizeof(expanded)))
			continue;
		snprintf(pattern, sizeof(pattern), "%s%s", place->root,
			 expanded + (*expanded == '-'));
		if (glob(pattern, 0, NULL, &found) != 0)
			continue;
		for (size_t i = 0; !ret && i < found.gl_pathc; i++) {
			ret = sets_preload(found.gl_pathv[i]);
			snprintf(ret_path, size, "%s", found.gl_pathv[i]);
		}
		globfree(&found);
	}
	return ret;
}

static int check_environment(const struct enable_plan *plan,
			     const struct enable_request *request, char *ret_error,
			     size_t size)
{
	const struct unit *unit = &plan->unit;
	char path[PATH_MAX], value[64];

	if (unit_lists(unit, "UnsetEnvironment", "LD_PRELOAD"))
		snprintf(ret_error, size,
			 "%s: its UnsetEnvironment= takes LD_PRELOAD away: take that out "
			 "first",
			 unit->name);
	else if (unit_environment(unit, "TWSHIM_DISABLED", value, sizeof(value)) &&
		 *value && strcmp(value, "0") != 0)
		snprintf(ret_error, size,
			 "%s: its Environment= sets TWSHIM_DISABLED: take that out first",
			 unit->name);
	else if (find_preload_file(unit, &request->place, path, sizeof(path)))
		snprintf(ret_error, size,
			 "%s: %s sets LD_PRELOAD, which counts more than Environment=: "
			 "append :%s there",
			 unit->name, path, plan->library);
	else
		return 0;
	return -1;
}

/* --------------------------------------------------------------------- the programs */

bool enable_find_program(const struct enable_plan *plan, const struct unit_place *place,
			 const char *name, char ret_path[PATH_MAX])
{
	const char *directories = STANDARD_PATH;
	char path[2 * PATH_MAX];

	for (; *directories; directories += strspn(directories, ":")) {
		size_t length = strcspn(directories, ":");

		snprintf(path, sizeof(path), "%s%.*s/%s", place->root, (int)length,
			 directories, name);
		directories += length;
		if (access(path, X_OK) == 0)
			return snprintf(ret_path, PATH_MAX, "%s",
					path + strlen(place->root)) < PATH_MAX;
	}
	return false;
}

static bool program_of(const struct enable_plan *plan, const struct unit_place *place,
		       const char *name, char ret_path[PATH_MAX])
{
	char expanded[PATH_MAX];

	if (!unit_expand(&plan->unit, place, name, expanded, sizeof(expanded)))
		return false;
	snprintf(ret_path, PATH_MAX, "%s", expanded);
	if (*expanded != '/')
		enable_find_program(plan, place, expanded, ret_path);
	return true;
}

static bool check_command(struct enable_plan *plan, const struct enable_request *request,
			  struct enable_command *command)
{
	char path[2 * PATH_MAX], library[2 * PATH_MAX];
	char why[sizeof(command->reach.why)];

	snprintf(path, sizeof(path), "%s%s", request->place.root, command->path);
	snprintf(library, sizeof(library), "%s%s", request->place.root, plan->library);
	command->reach = reach_command_as(path, library, &plan->user);
	if (!reach_is_reached(command->reach.verdict))
		return false;
	if (*request->place.root)
		return true;
	if (enable_try(command->reach.path, plan->library, &plan->user, why, sizeof(why)))
		return true;
	reach_set(&command->reach, REACH_NOT_LOADED, "%s", why);
	snprintf(command->reach.instead, sizeof(command->reach.instead),
		 "install the library where the unit's user can read it: make install");
	return false;
}

/* By a supervisor: where there is a policy, or where root's systemd is not there. All of
 * the unit's programs must be of that kind. */
static bool may_be_supervised(const struct enable_plan *plan)
{
	for (size_t i = 0; i < plan->command_count; i++)
		if (!reach_may_be_supervised(plan->commands[i].reach.verdict))
			return false;
	return plan->command_count > 0;
}

/* Through the kernel, by root's systemd; which can put no policy in force. */
static bool may_be_observed(const struct enable_plan *plan,
			    const struct enable_request *request,
			    const struct reach *reach)
{
	return !request->place.user && !plan->policy &&
	       (reach->verdict == REACH_STATIC || reach->verdict == REACH_GO ||
		reach->verdict == REACH_LOADER || reach->verdict == REACH_MACHINE ||
		reach->verdict == REACH_SETID || reach->verdict == REACH_CAPABILITIES);
}

/* How many of the commands of a line are reached; the last one that is not is put in
 * `ret_reach`. */
static size_t check_line(struct enable_plan *plan, const struct enable_request *request,
			 const char *value, const struct reach **ret_reach)
{
	struct exec_line line;
	size_t reached = 0;

	while (plan->command_count < ENABLE_COMMANDS &&
	       exec_line_next(&value, &line) == 1) {
		struct enable_command *command = &plan->commands[plan->command_count];

		if (!program_of(plan, &request->place, line.path, command->path))
			continue;
		plan->command_count++;
		if (check_command(plan, request, command))
			reached++;
		else
			*ret_reach = &command->reach;
	}
	return reached;
}

static void note_observed(struct enable_plan *plan, const char *why)
{
	plan->observed = true;
	snprintf(enable_note(plan), ENABLE_NOTE_SIZE,
		 "the shim does not reach it: %.150s: nothing in it is changed, "
		 "and twshim-watch@%.80s observes it; systemctl start "
		 "twshim-watch@%.80s "
		 "does so now, without a restart",
		 why, plan->unit.name, plan->unit.name);
}

static void note_supervised(struct enable_plan *plan, const char *why)
{
	plan->supervised = true;
	snprintf(enable_note(plan), ENABLE_NOTE_SIZE,
		 "the shim does not reach it: %.200s: twshim exec starts it, beside a "
		 "supervisor that observes it%s",
		 why, plan->policy ? " and carries out its policy" : "");
}

static int check_commands(struct enable_plan *plan, const struct enable_request *request,
			  char *ret_error, size_t size)
{
	const struct reach *reach = NULL;
	size_t at = 0, reached = 0;
	const char *value;

	while ((value = unit_next(&plan->unit, "ExecStart", &at)) != NULL)
		reached += check_line(plan, request, value, &reach);
	if (reached && reach)
		snprintf(enable_note(plan), ENABLE_NOTE_SIZE,
			 "not all of its programs are reached: %s", reach->why);
	if (reached)
		return 0;
	if (reach && may_be_observed(plan, request, reach)) {
		note_observed(plan, reach->why);
		return 0;
	}
	if (reach && may_be_supervised(plan)) {
		note_supervised(plan, reach->why);
		return 0;
	}
	if (reach)
		snprintf(ret_error, size, "%s: the shim does not reach it: %s%s%s",
			 plan->unit.name, reach->why, *reach->instead ? ": " : "",
			 reach->instead);
	else
		snprintf(ret_error, size,
			 "%s: it has no ExecStart= that could be looked at",
			 plan->unit.name);
	return -1;
}

static int check_sandbox(const struct enable_plan *plan, char *ret_error, size_t size)
{
	const char *files[] = {plan->library, plan->policy ? plan->twshim : NULL};

	for (size_t i = 0; i < 2 && files[i]; i++) {
		const char *why = enable_hidden_by(&plan->unit, files[i]);

		if (!why)
			continue;
		snprintf(ret_error, size,
			 "%s: its %s hides %s from it: install it elsewhere, as make "
			 "install does%s",
			 plan->unit.name, why, files[i],
			 strncmp(why, "Root", 4) == 0
			     ? ", in that root, and enable it there with --root"
			     : "");
		return -1;
	}
	return 0;
}

static int check_filter(const struct unit *unit, char *ret_error, size_t size)
{
	char *sets = filter_read_sets();
	char calls[512] = "";
	unsigned killed =
	    sets ? filter_kills(unit, sets, FILTER_SHIM, calls, sizeof(calls)) : 0;

	if (killed)
		snprintf(ret_error, size,
			 "%s: its SystemCallFilter= would kill it at system calls that "
			 "the shim makes: add the line SystemCallFilter=%s to it, or set "
			 "SystemCallErrorNumber=EPERM",
			 unit->name, killed > FEW ? "@system-service" : calls + 1);
	free(sets);
	return killed ? -1 : 0;
}

static void note_privileges(struct enable_plan *plan)
{
	if (!plan->user_known)
		snprintf(enable_note(plan), ENABLE_NOTE_SIZE,
			 "its User=%s is not known here",
			 unit_value(&plan->unit, "User"));
	else if (plan->user.uid == 0)
		snprintf(enable_note(plan), ENABLE_NOTE_SIZE,
			 "it starts as root: processes that become another user "
			 "publish as that user, where root's report finds them; behind "
			 "a chroot() they can't");
	if (unit_is_on(&plan->unit, "PrivateNetwork"))
		snprintf(enable_note(plan), ENABLE_NOTE_SIZE,
			 "PrivateNetwork=: its TIME_WAIT sockets are in a "
			 "network namespace of its own, and not confirmed here");
}

int enable_check(struct enable_plan *plan, const struct enable_request *request,
		 char *ret_error, size_t size)
{
	char why[COMMAND_ERROR_SIZE] = "";
	int commands = check_commands(plan, request, why, sizeof(why));

	/* A unit that is only observed needs no check of its environment and sandbox. */
	if (plan->observed)
		return 0;
	if (plan->supervised)
		return enable_check_exec(plan, ret_error, size);
	if (check_environment(plan, request, ret_error, size) != 0 ||
	    check_sandbox(plan, ret_error, size) != 0 ||
	    check_filter(&plan->unit, ret_error, size) != 0)
		return -1;
	if (commands != 0) {
		snprintf(ret_error, size, "%s", why);
		return -1;
	}
	note_privileges(plan);
	return 0;
}
