/* SPDX-License-Identifier: MIT */
#include "tools/exec_helper.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/shared/rundir.h"
#include "shim/shared/helper.h"
#include "tools/base/cli.h"
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
	error = door_exec(open_run_of_environment(), TWS_HELPER_DOOR, &program);
	return cli_fail(error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE, "%s: %s", path,
			strerror(error));
}
