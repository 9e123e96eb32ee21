/* SPDX-License-Identifier: MIT
 *
 * A unit whose programs the shim does not reach, and which twshim exec is to start:
 * whether it can, and the lines for that.
 */
#include "tools/systemd/enable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/systemd/exec_line.h"
#include "tools/systemd/filter.h"

#define FEW 8 /* system calls that are named */

static int fail(const struct enable_plan *plan, const char *why, char *ret_error,
		size_t size)
{
	snprintf(ret_error, size,
		 "%s: the shim does not reach it, and twshim exec can't start it: %s",
		 plan->unit.name, why);
	return -1;
}

/* systemd takes the one process of the group that is its child for the main one. */
static bool has_unclear_main(const struct unit *unit)
{
	const char *type = unit_value(unit, "Type");

	return type && strcmp(type, "forking") == 0 && !unit_value(unit, "PIDFile") &&
	       (!unit_value(unit, "GuessMainPID") || unit_is_on(unit, "GuessMainPID"));
}

static int check_files(const struct enable_plan *plan, char *ret_error, size_t size)
{
	const char *files[] = {plan->twshim,
			       plan->policy ? plan->policy_path : plan->twshim};
	char text[PATH_MAX + 128];

	if (!*plan->twshim)
		return fail(plan, "there is no twshim for it: make install", ret_error,
			    size);
	for (size_t i = 0; i < 2; i++) {
		const char *why = enable_hidden_by(&plan->unit, files[i]);

		if (!why)
			continue;
		snprintf(text, sizeof(text), "its %s hides %s from it", why, files[i]);
		return fail(plan, text, ret_error, size);
	}
	return 0;
}

static int check_calls(const struct enable_plan *plan, char *ret_error, size_t size)
{
	char *sets = filter_read_sets();
	char calls[1024] = "", text[sizeof(calls) + 256];
	unsigned killed =
	    sets ? filter_kills(&plan->unit, sets, FILTER_EXEC, calls, sizeof(calls)) : 0;

	snprintf(text, sizeof(text),
		 "its SystemCallFilter= would kill it at system calls that it makes: add "
		 "the line SystemCallFilter=%s to it, or set SystemCallErrorNumber=EPERM",
		 killed > FEW ? "@system-service seccomp pidfd_getfd" : calls + 1);
	free(sets);
	return killed ? fail(plan, text, ret_error, size) : 0;
}

/* Calls `visit` for each command that ExecStart= has; a value other than 0 ends it. */
static int each_command(const struct enable_plan *plan,
			int (*visit)(const struct exec_line *line, void *data),
			void *data)
{
	struct exec_line line;
	const char *value;
	size_t at = 0;
	int result;

	while ((value = unit_next(&plan->unit, "ExecStart", &at)) != NULL)
		while ((result = exec_line_next(&value, &line)) != 0) {
			if (result > 0)
				result = visit(&line, data);
			if (result != 0)
				return result;
		}
	return 0;
}

static int refuse(const struct exec_line *line, void *data)
{
	const char **why = data;

	*why = exec_line_refuses(line);
	return *why ? -EINVAL : 0;
}

static void note_consequences(struct enable_plan *plan)
{
	if (!plan->user_known || plan->user.uid == 0)
		snprintf(enable_note(plan), ENABLE_NOTE_SIZE,
			 "it starts as root: what its processes connect after they have "
			 "become another user is not observed, and no policy acts on it");
	if (plan->user.uid != 0 && !plan->user.no_new_privileges)
		snprintf(enable_note(plan), ENABLE_NOTE_SIZE,
			 "it can't start sudo and other set-user-ID programs any more, "
			 "as with NoNewPrivileges=yes");
}

int enable_check_exec(struct enable_plan *plan, char *ret_error, size_t size)
{
	const char *why = "its ExecStart= can't be read";

	if (has_unclear_main(&plan->unit))
		return fail(plan,
			    "its Type=forking has no PIDFile=, and systemd could not "
			    "tell its main process from the supervisor: add PIDFile=",
			    ret_error, size);
	if (each_command(plan, refuse, &why) != 0)
		return fail(plan, why, ret_error, size);
	if (check_files(plan, ret_error, size) != 0 ||
	    check_calls(plan, ret_error, size) != 0)
		return -1;
	note_consequences(plan);
	return 0;
}

/* ----------------------------------------------------------------------- the lines */

struct writing {
	FILE *out;
	const struct enable_plan *plan;
	const struct unit_place *place;
	struct exec_line_front front;
};

static int write_line(const struct exec_line *line, void *data)
{
	const struct writing *writing = data;
	struct exec_line_front front = writing->front;
	char found[PATH_MAX];

	if (!strchr("/%", *line->path) &&
	    enable_find_program(writing->plan, writing->place, line->path, found))
		front.found = found;
	exec_line_write(writing->out, line, &front);
	return 0;
}

char *enable_exec_text(const struct enable_plan *plan, const struct unit_place *place,
		       const char *policy)
{
	char *text = NULL;
	size_t size = 0;
	struct writing writing = {
	    .out = open_memstream(&text, &size),
	    .plan = plan,
	    .place = place,
	    .front = {.twshim = plan->twshim, .policy = policy},
	};

	if (!writing.out)
		return NULL;
	fputs("ExecStart=\n", writing.out);
	each_command(plan, write_line, &writing);
	if (fclose(writing.out) == 0)
		return text;
	free(text);
	return NULL;
}
