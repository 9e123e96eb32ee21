/* SPDX-License-Identifier: MIT */
#include "tools/exec_helper.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shim/shared/rundir.h"
#include "shim/shared/helper.h"
#include "tools/base/cli.h"
#include "tools/launch/reach.h"
#include "tools/observe/door.h"
#include "tools/segments/rundir.h"

#define NOT_EXECUTABLE 126
#define NOT_FOUND      127

/* The directory of the run, open, as tws_run_goes_on() finds it; or -errno. */
static int open_run_directory(const char *tag)
{
	char path[PATH_MAX], place[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), TWS_SYSTEM_DIRECTORY "/run/%s", tag);
	fd = tws_rundir_open(path);
	if (fd >= 0 || tws_rundir_find(place, sizeof(place)) != 0)
		return fd;
	if (snprintf(path, sizeof(path), "%s/" TWS_RUN_PREFIX "%s", place, tag) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	return tws_rundir_open(path);
}

static int open_run_of_environment(void)
{
	const char *tag = getenv("TWSHIM_RUN");
	uint8_t run[TWS_RUN_SIZE];

	return tag && tws_run_parse(tag, run) ? open_run_directory(tag) : -ENOENT;
}

static bool may_gain(const char *path)
{
	struct stat st;

	return (stat(path, &st) == 0 && st.st_mode & (S_ISUID | S_ISGID)) ||
	       getxattr(path, "security.capability", NULL, 0) > 0;
}

/* Whether no supervisor is needed, or none can observe it, of which ours is told. */
static bool goes_alone(const char *path)
{
	char text[DOOR_TEXT_SIZE];
	struct reach reach;

	if (!may_gain(path))
		return false;
	reach = reach_command(path, NULL);
	if (reach.verdict != REACH_SETID && reach.verdict != REACH_CAPABILITIES)
		return reach_is_reached(reach.verdict);
	snprintf(text, sizeof(text), "%.*s: the shim does not reach it: %s: %s",
		 DOOR_PATH_SIZE, path, reach.why, reach.instead);
	door_tell_unreached(open_run_of_environment(), TWS_HELPER_DOOR, text);
	return true;
}

static int become(const struct door_program *program)
{
	if (!goes_alone(program->path))
		return door_exec(open_run_of_environment(), TWS_HELPER_DOOR, program);
	execve(program->path, program->argv, program->environment);
	return errno;
}

int exec_helper(char *const *argv)
{
	const char *target = getenv(TWS_HELPER_TARGET);
	char path[TWS_HELPER_TARGET_SIZE];
	const struct door_program program = {
	    .path = path, .argv = argv, .environment = environ};
	int error;

	if (!target || !*target || strlen(target) >= sizeof(path))
		return -1;
	snprintf(path, sizeof(path), "%s", target);
	unsetenv(TWS_HELPER_TARGET);
	error = become(&program);
	return cli_fail(error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE, "%s: %s", path,
			strerror(error));
}
