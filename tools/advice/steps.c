/* SPDX-License-Identifier: MIT
 *
 * The rule is the one that the finding's advice names as -p 'RULE', so that text and
 * commands cannot differ.
 */
#include "tools/advice/steps.h"

#include <stdarg.h>
#include <string.h>

#include "tools/advice/rule.h"
#include "tools/base/print.h"

/* Need no quotes, neither in a rule nor in a shell. */
#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+."

#define OPTION_SIZE (ADVICE_RULE_SIZE + 8)

struct writing {
	const struct advice_finding *finding;
	const struct advice_way *way;
	struct advice_step *steps;
	size_t count;
	char rule[ADVICE_RULE_SIZE]; /* "": the cure is no rule */
	char option[OPTION_SIZE];    /* "-p 'RULE' ", or "" */
	char dir[192];		     /* " --dir DIR", or "" */
};

static struct advice_step *add(struct writing *writing, enum advice_step_kind kind,
			       const char *text)
{
	static struct advice_step full;
	struct advice_step *step =
	    writing->count < ADVICE_STEPS ? &writing->steps[writing->count++] : &full;

	*step = (struct advice_step){.kind = kind};
	snprintf(step->text, sizeof(step->text), "%.191s", text);
	return step;
}

__attribute__((format(printf, 4, 5))) static void add_typed(struct writing *writing,
							    enum advice_step_kind kind,
							    const char *text,
							    const char *format, ...)
{
	struct advice_step *step = add(writing, kind, text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(step->typed, sizeof(step->typed), format, arguments);
	va_end(arguments);
}

bool advice_rule_of(const struct advice_finding *finding, char *ret_rule, size_t size)
{
	const char *begin = strstr(finding->advice, "-p '");
	size_t length = begin ? strcspn(begin + 4, "'") : 0;

	if (!length || length >= size)
		return false;
	snprintf(ret_rule, size, "%.*s", (int)length, begin + 4);
	return true;
}

/* Takes the first rule of the advice, and restricts it to the program. */
static void take_rule(struct writing *writing)
{
	const char *exe = writing->way->exe;
	char who[ADVICE_WHO_SIZE];
	size_t length;

	if (!advice_rule_of(writing->finding, writing->rule, ADVICE_RULE_SIZE))
		return;
	length = strlen(writing->rule);
	if (strstr(writing->rule, "to=") && !strstr(writing->rule, "exe=") &&
	    !strstr(writing->rule, "app=") && exe && *exe &&
	    length + sizeof(who) + 1 < ADVICE_RULE_SIZE)
		snprintf(writing->rule + length, ADVICE_RULE_SIZE - length, ",%s",
			 advice_who(who, exe, writing->finding->app));
	snprintf(writing->option, OPTION_SIZE, "-p '%s' ", writing->rule);
}

/* ------------------------------------------------------------- what to type now */

/* Where no port is left: how long that lasts, and a rule that takes others at once. */
static void write_exhausted(struct writing *writing)
{
	const struct advice_finding *finding = writing->finding;
	const char *fin_reset = strstr(writing->rule, "close=fin-reset");
	char text[192], rest[ADVICE_RULE_SIZE];

	if (!finding->returns_last_s)
		return;
	snprintf(text, sizeof(text),
		 "Ports return when TIME_WAIT ends, the first in %u s and the last in "
		 "%u s; this waits for half of them",
		 finding->returns_first_s, finding->returns_last_s);
	add_typed(writing, STEP_COMMAND, text, "twshim wait --to '%s' --below %u",
		  finding->to, finding->range / 2 + 1);
	if (!fin_reset || !writing->way->ring || !writing->way->by_shim)
		return;
	snprintf(rest, sizeof(rest), "%s", fin_reset);
	snprintf(writing->rule, ADVICE_RULE_SIZE, "port_ring=%s,%.280s",
		 writing->way->ring, rest);
}

static const char *now_text(const struct writing *writing)
{
	return strncmp(writing->rule, "port_ring=", 10) == 0
		   ? "Now, in running processes: other ports for new connections at once"
		   : "Now, in running processes, from their next connection on";
}

/* Processes under the shim follow a policy at once. */
static void write_now(struct writing *writing)
{
	if (!*writing->rule || !writing->way->by_shim)
		return;
	if (writing->way->has_policy) {
		add_typed(writing, STEP_COMMAND, "Keep the policy that is in force",
			  "twshim policy show%s >twshim-before.conf", writing->dir);
		add_typed(writing, STEP_COMMAND, now_text(writing),
			  "twshim policy load%s -p '%s' twshim-before.conf", writing->dir,
			  writing->rule);
		add_typed(writing, STEP_COMMAND, "Undo",
			  "twshim policy load%s twshim-before.conf", writing->dir);
	} else {
		add_typed(writing, STEP_COMMAND, now_text(writing),
			  "twshim policy load%s -p '%s'", writing->dir, writing->rule);
		add_typed(writing, STEP_COMMAND, "Undo", "twshim policy clear%s",
			  writing->dir);
	}
}

/* ------------------------------------------------------------------ what lasts */

static bool is_about_closing(const struct advice_finding *finding)
{
	static const char *const ids[] = {"TW101", "TW102", "TW103", "TW104"};

	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++)
		if (strcmp(finding->id, ids[i]) == 0)
			return true;
	return false;
}

static void write_own_words(struct writing *writing)
{
	const struct advice_way *way = writing->way;
	const struct own_words *words = NULL;
	char text[256];

	if (!way->exe || !is_about_closing(writing->finding))
		return;
	while ((words = own_words_next(words, way->exe, way->is_go))) {
		snprintf(text, sizeof(text), "To last, in %s", words->where);
		own_words_text(add(writing, STEP_CHANGE, text)->typed, words,
			       writing->finding->to);
	}
}

static void write_unit(struct writing *writing, const char *user)
{
	const char *unit = writing->way->origin.name;

	add_typed(writing, STEP_COMMAND,
		  *user ? "To last, for your service" : "To last, for the service (root)",
		  "twshim enable%s %s--restart %s", user, writing->option, unit);
	add_typed(writing, STEP_COMMAND, "Undo", "twshim disable%s --restart %s", user,
		  unit);
}

/* In a crontab a % ends the command, unless a backslash stands before it. */
static void write_crontab(struct writing *writing, const char *command)
{
	char escaped[2 * ORIGIN_COMMAND_SIZE];
	size_t used = 0;

	for (; *command; command++) {
		if (*command == '%')
			escaped[used++] = '\\';
		escaped[used++] = *command;
	}
	escaped[used] = '\0';
	add_typed(writing, STEP_CRONTAB,
		  "To last, as the command in its line of the crontab",
		  "twshim run -q %s-- %s", writing->option, escaped);
}

static void write_started(struct writing *writing)
{
	const char *command = writing->way->discreet ? "" : writing->way->origin.command;

	if (writing->way->origin.kind == ORIGIN_CRON && *command)
		write_crontab(writing, command);
	else if (*command)
		add_typed(writing, STEP_COMMAND, "To last, start it by",
			  "twshim run %s-- %s", writing->option, command);
	else
		add_typed(
		    writing, STEP_COMMAND,
		    "To last, in the script or shell that starts it, before it does",
		    "eval \"$(twshim env%s%.*s)\"", *writing->option ? " " : "",
		    *writing->option ? (int)strlen(writing->option) - 1 : 0,
		    writing->option);
}

static void write_lasting(struct writing *writing)
{
	char text[192];

	switch (writing->way->origin.kind) {
	case ORIGIN_UNIT:
		write_unit(writing, "");
		return;
	case ORIGIN_USER_UNIT:
		write_unit(writing, " --user");
		return;
	case ORIGIN_CONTAINER:
		snprintf(text, sizeof(text),
			 "To last, in the definition of container %.12s: mount "
			 "libtwshim.so and a tmpfs on /run/twshim, and set LD_PRELOAD",
			 writing->way->origin.name);
		add(writing, STEP_NOTE, text);
		return;
	default:
		write_started(writing);
	}
}

/* Advice such as "set net.ipv4.tcp_tw_reuse=1". */
static void write_sysctl(struct writing *writing)
{
	const char *setting = strstr(writing->finding->advice, "set net.");
	char name[64] = "", value[32] = "";

	if (!setting || sscanf(setting, "set %63[a-z0-9_.]=%31[0-9]", name, value) != 2)
		return;
	add_typed(writing, STEP_COMMAND, "For the whole host: note the value that it has",
		  "sysctl %s", name);
	add_typed(writing, STEP_COMMAND, "Then, as root, until the next boot",
		  "sysctl -w %s=%s", name, value);
}

size_t advice_steps(struct advice_step *ret_steps, const struct advice_finding *finding,
		    const struct advice_way *way)
{
	struct writing writing = {.finding = finding, .way = way, .steps = ret_steps};
	bool is_nobodys = strcmp(finding->id, "TW218") == 0;

	if (finding->verdict <= VERDICT_UNKNOWN)
		return 0;
	if (way->dir && way->dir[strspn(way->dir, PLAIN "/")] == '\0')
		snprintf(writing.dir, sizeof(writing.dir), " --dir %.180s", way->dir);
	take_rule(&writing);
	write_exhausted(&writing);
	if (!way->is_go)
		write_now(&writing);
	write_own_words(&writing);
	if (!way->is_go && (*writing.rule || is_nobodys) && (way->exe || *finding->to))
		write_lasting(&writing);
	write_sysctl(&writing);
	return writing.count;
}
