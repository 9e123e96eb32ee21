/* SPDX-License-Identifier: MIT
 *
 * Whether the shim can get into a unit's programs: what systemd's settings allow, what
 * the executables allow, and what the loader says when it is asked to try.
 */
#include "tools/systemd/enable.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/launch/library.h"
#include "tools/systemd/filter.h"

#define COMMAND_ERROR_SIZE (PATH_MAX + 1024)

#define STANDARD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define TRY_SECONDS   10
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

/* The program of an ExecStart= line; see systemd.service(5) for the letters before it. */
static bool program_of(const struct enable_plan *plan, const struct unit_place *place,
		       const char *line, char *ret_path, size_t size)
{
	char word[PATH_MAX], expanded[PATH_MAX], path[2 * PATH_MAX];
	const char *name, *directories = STANDARD_PATH;

	if (unit_word(&line, word, sizeof(word)) != 1)
		return false;
	name = word + strspn(word, "@-:+!|");
	if (!unit_expand(&plan->unit, place, name, expanded, sizeof(expanded)))
		return false;
	snprintf(ret_path, size, "%s", expanded);
	if (*expanded == '/')
		return true;
	for (; *directories; directories += strspn(directories, ":")) {
		size_t length = strcspn(directories, ":");

		snprintf(path, sizeof(path), "%s%.*s/%s", place->root, (int)length,
			 directories, expanded);
		directories += length;
		if (access(path, X_OK) == 0)
			return (size_t)snprintf(ret_path, size, "%s",
						path + strlen(place->root)) < size;
	}
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

static int check_commands(struct enable_plan *plan, const struct enable_request *request,
			  char *ret_error, size_t size)
{
	const struct reach *reach = NULL;
	size_t at = 0, reached = 0;
	const char *line;

	while (plan->command_count < ENABLE_COMMANDS &&
	       (line = unit_next(&plan->unit, "ExecStart", &at)) != NULL) {
		struct enable_command *command = &plan->commands[plan->command_count];

		if (!program_of(plan, &request->place, line, command->path,
				sizeof(command->path)))
			continue;
		plan->command_count++;
		if (check_command(plan, request, command))
			reached++;
		else
			reach = &command->reach;
	}
	if (reached && reach)
		snprintf(enable_note(plan), ENABLE_NOTE_SIZE,
			 "not all of its programs are reached: %s", reach->why);
	if (reached)
		return 0;
	if (reach && may_be_observed(plan, request, reach)) {
		plan->observed = true;
		snprintf(enable_note(plan), ENABLE_NOTE_SIZE,
			 "the shim does not reach it: %.150s: nothing in it is changed, "
			 "and twshim-watch@%.80s observes it; systemctl start "
			 "twshim-watch@%.80s "
			 "does so now, without a restart",
			 reach->why, plan->unit.name, plan->unit.name);
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
	unsigned killed = sets ? filter_kills(unit, sets, calls, sizeof(calls)) : 0;

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

/* ---------------------------------------------------------------------- the attempt */

static void become(const char *loader, const char *program, const char *library,
		   const struct reach_user *user, int output)
{
	char preload[PATH_MAX + 16];
	char *const environment[] = {preload, NULL};
	int null = open("/dev/null", O_RDWR);

	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", library);
	dup2(null, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	close_range(STDERR_FILENO + 1, ~0u, 0);
	alarm(TRY_SECONDS);
	if (geteuid() == 0 &&
	    (setgroups(0, NULL) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
	     setresuid(user->uid, user->uid, user->uid) != 0))
		_exit(126);
	execle(loader, loader, "--list", program, (char *)NULL, environment);
	_exit(127);
}

/* All of it, cut to `size`. */
static void read_output(int fd, char *ret_text, size_t size)
{
	size_t length = 0;
	char rest[512];
	ssize_t got;

	do {
		bool full = length + 1 >= size;

		got = full ? read(fd, rest, sizeof(rest))
			   : read(fd, ret_text + length, size - 1 - length);
		if (got > 0 && !full)
			length += (size_t)got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	ret_text[length] = '\0';
}

static bool find_loader(const char *program, struct reach_elf *ret_elf)
{
	int fd = open(program, O_RDONLY | O_CLOEXEC);
	bool ret = fd >= 0 && reach_read_elf(fd, ret_elf) && *ret_elf->loader;

	if (fd >= 0)
		close(fd);
	return ret;
}

bool enable_try(const char *program, const char *library, const struct reach_user *user,
		char *ret_why, size_t size)
{
	char text[8192];
	struct reach_elf elf = {0};
	int pipes[2], status = 0;
	pid_t child;

	if (!find_loader(program, &elf) || pipe2(pipes, O_CLOEXEC) != 0)
		return true; /* not to be tried; what was looked at stands */
	child = fork();
	if (child == 0)
		become(elf.loader, program, library, user, pipes[1]);
	close(pipes[1]);
	text[0] = '\0';
	if (child > 0)
		read_output(pipes[0], text, sizeof(text));
	close(pipes[0]);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return true;
	if (status == 0 && strstr(text, "/" LIBRARY_NAME) &&
	    !strstr(text, "cannot be preloaded"))
		return true;
	text[strcspn(text, "\n")] = '\0';
	snprintf(ret_why, size, "its loader, as user %u, says: %s", (unsigned)user->uid,
		 *text ? text : "nothing");
	return false;
}
