/* SPDX-License-Identifier: MIT */
#include "tools/segments/dir_option.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/segments/rundir.h"

#define WHERE "twshim env prints where programs publish, as TWSHIM_DIR"

static int refuse_dir(const char *path, int error)
{
	struct stat st;

	if (error == -ENOENT)
		return cli_fail(CLI_FAILURE, "--dir %s: no such directory: " WHERE, path);
	if (error == -ENOTDIR && lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		return cli_fail(CLI_FAILURE,
				"--dir %s: it is a symbolic link, and links are not "
				"followed: name the directory itself",
				path);
	if (error == -ENOTDIR)
		return cli_fail(CLI_FAILURE, "--dir %s: not a directory: " WHERE, path);
	if (error == -EACCES)
		return cli_fail(CLI_FAILURE,
				"--dir %s: %s: read it as its owner or as root, or let "
				"your group in with readable_by_group in its policy",
				path, strerror(EACCES));
	return cli_fail(CLI_FAILURE, "--dir %s: %s: " WHERE, path, strerror(-error));
}

int dir_option_check(const char *path)
{
	int fd = tws_rundir_open(path);

	if (fd < 0)
		return refuse_dir(path, fd);
	close(fd);
	return 0;
}

int dir_option_take(const struct cli_option *option, void *field)
{
	*(const char **)field = optarg;
	return dir_option_check(optarg);
}

int dir_option_take_future(const struct cli_option *option, void *field)
{
	struct stat st;

	if (lstat(optarg, &st) == 0 || errno != ENOENT)
		return dir_option_take(option, field);
	*(const char **)field = optarg;
	cli_fail(0, "--dir %s: no such directory yet: waiting for it; " WHERE, optarg);
	return 0;
}

void dir_option_warn_full(const char *directory)
{
	cli_fail(0,
		 "%s: no room is left on this tmpfs, and connections will not be "
		 "counted: make room there, or set TWSHIM_DIR to another",
		 directory);
}
