/* SPDX-License-Identifier: MIT
 *
 * Gathers the facts about a command, through PATH and scripts, and about a process,
 * through /proc.
 */
#include "tools/launch/reach.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tools/base/print.h"
#include "tools/kernel/proc_file.h"
#include "tools/kernel/process.h"
#include "tools/launch/library.h"

#define FIRST_BYTES   256
#define STANDARD_PATH "/bin:/usr/bin" /* glibc's, where there is no PATH */

/* --------------------------------------------------------------------- one file */

/* The machine that the library is for; our own if that cannot be read. */
static void own_machine(const char *library, struct reach_facts *facts)
{
	char found[PATH_MAX] = "", error[2 * PATH_MAX];
	struct reach_elf elf = {0};

	if (!library && library_find(found, sizeof(found), error, sizeof(error)) == 0)
		library = found;
	for (int i = 0; i < 2 && !elf.is_elf; i++) {
		const char *file = i == 0 ? library : "/proc/self/exe";
		int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;

		if (fd >= 0 && reach_read_elf(fd, &elf)) {
			facts->class = elf.class;
			facts->machine = elf.machine;
		}
		if (fd >= 0)
			close(fd);
	}
	facts->has_i386 = library && library_has_i386(library);
}

static bool grants_capability(const char *path)
{
	struct vfs_ns_cap_data data = {0};

	if (getxattr(path, "security.capability", &data, sizeof(data)) <= 0)
		return false;
	return data.data[0].permitted || data.data[1].permitted;
}

/* Privileges have no effect on a nosuid file system, or for a process that gave them
 * up; those of file capabilities have no effect for root. */
static void read_privileges(const char *path, const struct stat *st,
			    const struct reach_user *user, struct reach_facts *facts)
{
	struct statvfs fs;

	if ((statvfs(path, &fs) == 0 && fs.f_flag & ST_NOSUID) || user->no_new_privileges)
		return;
	facts->changes_user = st->st_mode & S_ISUID && st->st_uid != user->uid;
	facts->changes_group =
	    st->st_mode & S_ISGID && st->st_mode & S_IXGRP && st->st_gid != user->gid;
	facts->gains_capability = user->uid != 0 && grants_capability(path);
}

/* ---------------------------------------------------------------------- commands */

static bool is_executable(const char *path, struct stat *ret_stat)
{
	return stat(path, ret_stat) == 0 && S_ISREG(ret_stat->st_mode) &&
	       access(path, X_OK) == 0;
}

/* Searches PATH as execvp() does. */
static bool find_command(const char *command, char *ret_path, size_t size)
{
	const char *path = getenv("PATH");
	struct stat st;

	if (strchr(command, '/')) {
		snprintf(ret_path, size, "%s", command);
		return is_executable(ret_path, &st);
	}
	for (path = path ? path : STANDARD_PATH; *command;) {
		size_t length = strcspn(path, ":");
		int needed = snprintf(ret_path, size, "%.*s%s%s", (int)length, path,
				      length ? "/" : "", command);

		if (needed < (int)size && is_executable(ret_path, &st))
			return true;
		if (!path[length])
			break;
		path += length + 1;
	}
	return false;
}

/* Finds the next file to examine. False: the verdict is known. */
static bool follow_env(char *argument, struct reach *reach, char *ret_next, size_t size)
{
	bool keeps;
	const char *program = reach_parse_env(argument, &keeps);

	if (!keeps) {
		reach_set(reach, REACH_ENVIRONMENT,
			  "its first line has env take LD_PRELOAD away");
		return false;
	}
	if (!program) {
		reach_set(reach, REACH_UNKNOWN,
			  "what env runs is not clear from its first line");
		return false;
	}
	if (find_command(program, ret_next, size))
		return true;
	reach_set(reach, REACH_NOT_FOUND,
		  "%.64s, which its first line has env run, is "
		  "not found",
		  program);
	return false;
}

static bool follow_script(struct reach_script *script, struct reach *reach,
			  char *ret_next, size_t size)
{
	struct stat st;

	if (strcmp(print_base_name(script->interpreter), "env") == 0)
		return follow_env(script->argument, reach, ret_next, size);
	snprintf(ret_next, size, "%s", script->interpreter);
	if (is_executable(ret_next, &st))
		return true;
	reach_set(reach, REACH_NOT_FOUND, "its interpreter %.64s is not found", ret_next);
	return false;
}

/* A text without an interpreter line: execvp() and the shells give it to the shell. */
static bool is_text(const char *bytes, ssize_t length)
{
	return length >= 0 && !memchr(bytes, '\0', (size_t)length);
}

/* Examines one file on the way. True: `ret_next` is the next one. */
static bool look_at_open(int fd, int level, struct reach_facts *facts,
			 struct reach *reach, char *ret_next, size_t size)
{
	struct reach_script script;
	char bytes[FIRST_BYTES];
	ssize_t length = pread(fd, bytes, sizeof(bytes), 0);

	if (length > 0 && reach_parse_script(bytes, (size_t)length, &script))
		return follow_script(&script, reach, ret_next, size);
	if (!reach_read_elf(fd, &facts->elf) && level == 0 && is_text(bytes, length)) {
		snprintf(ret_next, size, "/bin/sh");
		return true;
	}
	reach_decide(facts, reach->path, reach);
	return false;
}

static bool look_at_level(int level, const struct reach_user *user,
			  struct reach_facts *facts, struct reach *reach, char *ret_next,
			  size_t size)
{
	struct stat st;
	bool more;
	int fd = open(reach->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (stat(reach->path, &st) == 0)
		read_privileges(reach->path, &st, user, facts);
	if (fd >= 0) {
		more = look_at_open(fd, level, facts, reach, ret_next, size);
		close(fd);
		return more;
	}
	reach_decide(facts, reach->path, reach);
	if (reach->verdict == REACH_NOT_PROGRAM)
		reach_set(reach, REACH_UNKNOWN, "%.80s: %s", print_base_name(reach->path),
			  strerror(errno));
	return false;
}

static bool is_disabled(const char *value)
{
	return value && strcmp(value, "0") != 0;
}

struct reach reach_command(const char *command, const char *library)
{
	const struct reach_user us = {
	    .preload = getenv("LD_PRELOAD"),
	    .uid = getuid(),
	    .gid = getgid(),
	    .no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
	};
	struct reach reach = {0};

	if (!is_disabled(getenv("TWSHIM_DISABLED")))
		return reach_command_as(command, library, &us);
	reach_set(&reach, REACH_DISABLED, "TWSHIM_DISABLED is set");
	return reach;
}

/* The file that was examined in the end is not the one that was named: says how one
 * leads to the other. */
static void name_script(const char *command, struct reach *reach)
{
	char why[sizeof(reach->why)];

	strcpy(why, reach->why);
	snprintf(reach->why, sizeof(reach->why), "%.48s is a script for %.48s, and %.*s",
		 print_base_name(command), print_base_name(reach->path),
		 (int)sizeof(why) - 120, why);
}

static bool begins_with_asan(const char *preload)
{
	const char *at = preload ? preload + strspn(preload, " :") : "";
	const char *found = strstr(at, "asan");

	return found && (size_t)(found - at) < strcspn(at, " :");
}

/* Remembers the shortest name of a directory that is the command's with a version. */
static void find_version(const char *directory, const char *command,
			 char ret_name[NAME_MAX + 1])
{
	size_t length = strlen(command);
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL) {
		const char *version = entry->d_name + length;

		if (strncmp(entry->d_name, command, length) != 0 || !*version ||
		    strspn(version, "-.0123456789") != strlen(version))
			continue;
		if (!*ret_name || strlen(entry->d_name) < strlen(ret_name))
			snprintf(ret_name, NAME_MAX + 1, "%s", entry->d_name);
	}
	if (dir)
		closedir(dir);
}

/* Suggests php8.2 for php. */
static void fail_not_found(const char *command, struct reach *reach)
{
	const char *path = getenv("PATH");
	char copy[PATH_MAX], name[NAME_MAX + 1] = "", *rest = copy, *directory;

	snprintf(copy, sizeof(copy), "%s", path ? path : STANDARD_PATH);
	while (!strchr(command, '/') && *command &&
	       (directory = strsep(&rest, ":")) != NULL)
		find_version(directory, command, name);
	reach_set(reach, REACH_NOT_FOUND,
		  "%.80s is not found, or not executable%s%.80s%s", command,
		  *name ? " (did you mean " : "", name, *name ? "?)" : "");
}

struct reach reach_command_as(const char *command, const char *library,
			      const struct reach_user *user)
{
	struct reach_facts facts = {.asan_is_first = begins_with_asan(user->preload)};
	struct reach reach = {0};
	char next[PATH_MAX];
	int level = 0;

	if (!find_command(command, reach.path, sizeof(reach.path))) {
		reach.path[0] = '\0';
		fail_not_found(command, &reach);
		return reach;
	}
	own_machine(library, &facts);
	while (look_at_level(level, user, &facts, &reach, next, sizeof(next))) {
		if (++level > REACH_LEVELS) {
			reach_set(&reach, REACH_NOT_PROGRAM,
				  "its scripts name more than %d others", REACH_LEVELS);
			break;
		}
		strcpy(reach.path, next);
	}
	if (level > 0 && level <= REACH_LEVELS)
		name_script(command, &reach);
	return reach;
}

/* --------------------------------------------------------------------- processes */

static void proc_path(pid_t pid, const char *file, char *ret_path, size_t size)
{
	snprintf(ret_path, size, "/proc/%d/%s", (int)pid, file);
}

static bool asks_for_library(const char *line, const void *data)
{
	const char *name = "LD_PRELOAD=";

	return strncmp(line, name, strlen(name)) == 0 &&
	       library_is_listed(line + strlen(name), NULL);
}

static bool disables(const char *line, const void *data)
{
	const char *name = "TWSHIM_DISABLED=";

	return strncmp(line, name, strlen(name)) == 0 && is_disabled(line + strlen(name));
}

static bool is_secure(pid_t pid)
{
	char path[64];
	unsigned long entry[2];
	bool ret = false;
	int fd;

	proc_path(pid, "auxv", path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && read(fd, entry, sizeof(entry)) == sizeof(entry))
		if (entry[0] == AT_SECURE)
			ret = entry[1] != 0;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* What its executable allows; a verdict of "yes" means only that. */
static void look_at_executable(pid_t pid, const char *library, struct reach *reach)
{
	struct reach_facts facts = {.changes_user = is_secure(pid),
				    .asan_is_first = true}; /* it lives */
	ssize_t length;
	char link[64];
	int fd;

	proc_path(pid, "exe", link, sizeof(link));
	length = readlink(link, reach->path, sizeof(reach->path) - 1);
	if (length < 0) {
		reach_set(reach, errno == ENOENT ? REACH_NOT_PROGRAM : REACH_UNKNOWN,
			  errno == ENOENT ? "process %d is the kernel's, or a zombie"
					  : "process %d is another user's",
			  (int)pid);
		return;
	}
	reach->path[length] = '\0';
	own_machine(library, &facts);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		reach_read_elf(fd, &facts.elf);
		close(fd);
	}
	reach_decide(&facts, reach->path, reach);
	if (fd < 0 && reach->verdict == REACH_NOT_PROGRAM)
		reach_set(reach, REACH_UNKNOWN,
			  "the executable of process %d can't be "
			  "read",
			  (int)pid);
}

/* "Uid:", and the real, effective, saved and file-system user IDs. */
static bool names_two_users(const char *line, const void *data)
{
	unsigned id[4];

	return sscanf(line, "Uid: %u %u %u %u", &id[0], &id[1], &id[2], &id[3]) == 4 &&
	       (id[0] != id[1] || id[0] != id[2] || id[0] != id[3]);
}

static void judge_loaded(pid_t pid, struct reach *reach)
{
	if (proc_any_line(pid, "environ", '\0', disables, NULL) > 0)
		reach_set(reach, REACH_DISABLED,
			  "process %d was started with TWSHIM_DISABLED", (int)pid);
	else if (proc_any_line(pid, "status", '\n', names_two_users, NULL) > 0)
		reach_set(reach, REACH_USER_IDS,
			  "process %d has the shim, but its user IDs differ (Uid in "
			  "/proc/%d/status); while they do, the shim counts nothing and "
			  "no policy acts",
			  (int)pid, (int)pid);
	/* Another C library's loader may still load it, if it lacks no symbol. */
	else if (reach->verdict == REACH_YES || reach->verdict == REACH_LOADER)
		reach_set(reach, REACH_LOADED, "process %d has the shim", (int)pid);
}

static void judge_not_loaded(pid_t pid, struct reach *reach)
{
	if (proc_any_line(pid, "environ", '\0', asks_for_library, NULL) > 0)
		reach_set(reach, REACH_NOT_LOADED,
			  "process %d was started with the shim in LD_PRELOAD, and its "
			  "loader could not load it",
			  (int)pid);
	else
		reach_set(reach, REACH_NOT_LOADED,
			  "process %d was started without the shim", (int)pid);
}

struct reach reach_pid(pid_t pid, const char *library)
{
	struct reach reach = {0};
	char path[64];
	int loaded;

	proc_path(pid, "", path, sizeof(path));
	if (access(path, F_OK) != 0) {
		reach_set(&reach, REACH_NOT_FOUND, "there is no process %d", (int)pid);
		return reach;
	}
	look_at_executable(pid, library, &reach);
	loaded = process_has_shim(pid);
	if (loaded < 0 && reach_is_reached(reach.verdict))
		reach_set(&reach, REACH_UNKNOWN,
			  "what process %d has loaded can't be "
			  "read: %s",
			  (int)pid, strerror(-loaded));
	else if (loaded > 0)
		judge_loaded(pid, &reach);
	else if (reach_is_reached(reach.verdict))
		judge_not_loaded(pid, &reach);
	return reach;
}
