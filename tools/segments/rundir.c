/* SPDX-License-Identifier: MIT */
#include "tools/segments/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shim/shared/segment.h"

#define SYSTEM_DIRECTORY "/run/twshim"
#define UNIT_SUFFIX	 ".service"
#define OPEN_FLAGS	 (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define SEGMENT_LEAST	 65536 /* bytes: what a new segment takes before it is used */

static bool is_writable_tmpfs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC &&
	       access(path, W_OK | X_OK) == 0;
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

int tws_rundir_find(char *ret_path, size_t size)
{
	const char *given = environment("TWSHIM_DIR");
	const char *user = environment("XDG_RUNTIME_DIR");
	char path[4096];
	int length;

	if (given && *given != '/')
		return -EINVAL;
	if (given)
		length = snprintf(path, sizeof(path), "%s", given);
	else if (is_writable_tmpfs(SYSTEM_DIRECTORY))
		length = snprintf(path, sizeof(path), "%s", SYSTEM_DIRECTORY);
	else if (user && *user == '/')
		length = snprintf(path, sizeof(path), "%s/twshim", user);
	else
		length = snprintf(path, sizeof(path), "/dev/shm/twshim-%u",
				  (unsigned)geteuid());
	if (length < 0 || (size_t)length >= sizeof(path) || (size_t)length >= size)
		return -ENAMETOOLONG;
	memcpy(ret_path, path, (size_t)length + 1);
	return 0;
}

/* Others may write into it only under the sticky bit, where they can't rename ours. */
static bool is_trusted(const struct stat *st)
{
	bool ours = st->st_uid == geteuid() || st->st_uid == 0;

	return ours && (!(st->st_mode & (S_IWGRP | S_IWOTH)) || (st->st_mode & S_ISVTX));
}

int tws_rundir_create(const char *path)
{
	struct stat st;
	int fd, result = 0;

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return -errno;
	fd = tws_rundir_open(path);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) != 0)
		result = -errno;
	else if (!is_trusted(&st))
		result = -EPERM;
	close(fd);
	return result;
}

int tws_rundir_open(const char *path)
{
	int fd = open(path, OPEN_FLAGS);

	if (fd < 0)
		return errno == ELOOP ? -ENOTDIR : -errno;
	return fd;
}

void tws_rundir_explain(char *ret_text, size_t size, const char *path, int error,
			const char *by)
{
	snprintf(ret_text, size,
		 "%s: %s: name a directory that you may read, by its absolute path, with "
		 "%s",
		 path ? path : "the run-time directory", strerror(-error), by);
}

/* Of the directory, or of that where it would be made. */
static int stat_files(const char *path, struct statfs *ret_files)
{
	char above[4096], *slash;

	if (statfs(path, ret_files) == 0)
		return 0;
	if (errno != ENOENT ||
	    (size_t)snprintf(above, sizeof(above), "%s", path) >= sizeof(above))
		return -errno;
	slash = strrchr(above, '/');
	if (!slash)
		return -ENOENT;
	slash[1] = '\0';
	return statfs(above, ret_files) == 0 ? 0 : -errno;
}

int tws_rundir_check(const char *path)
{
	struct statfs files;

	if (stat_files(path, &files) != 0)
		return 0;
	if (files.f_type != TMPFS_MAGIC)
		return -EXDEV;
	/* Without a limit of its own a tmpfs says 0 blocks, or files, in all. */
	if ((files.f_blocks &&
	     files.f_bavail * (uint64_t)files.f_bsize < SEGMENT_LEAST) ||
	    (files.f_files && !files.f_ffree))
		return -ENOSPC;
	return 0;
}

static int visit_below(DIR *dir, const char *name, tws_rundir_visitor visit, void *data)
{
	int fd = openat(dirfd(dir), name, OPEN_FLAGS);
	int result;

	if (fd < 0)
		return 0;
	result = visit(fd, name, data);
	close(fd);
	return result;
}

/* A directory, not a link, that belongs to the user in its name; and, of root's, not the
 * main one, which is read as that. */
static bool is_users(const char *path, const char *before)
{
	unsigned long uid = strtoul(path + strlen(before), NULL, 10);
	struct stat st, usual;
	char found[4096];

	if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != uid)
		return false;
	return uid || tws_rundir_find(found, sizeof(found)) != 0 ||
	       stat(found, &usual) != 0 || usual.st_dev != st.st_dev ||
	       usual.st_ino != st.st_ino;
}

static int visit_pattern(const char *pattern, const char *before,
			 int (*visit)(const char *path, void *data), void *data)
{
	glob_t found;
	int result = 0;

	if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
		return 0;
	for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
		if (is_users(found.gl_pathv[i], before))
			result = visit(found.gl_pathv[i], data);
	globfree(&found);
	return result;
}

int tws_rundir_others(int (*visit)(const char *path, void *data), void *data)
{
	int result;

	if (geteuid() != 0 || environment("TWSHIM_DIR"))
		return 0;
	result = visit_pattern("/dev/shm/twshim-[0-9]*", "/dev/shm/twshim-", visit, data);
	if (result == 0)
		result =
		    visit_pattern("/run/user/[0-9]*/twshim", "/run/user/", visit, data);
	return result;
}

bool tws_rundir_is_below(const char *name)
{
	size_t length = strlen(name), end = strlen(UNIT_SUFFIX);

	return strncmp(name, TWS_RUN_PREFIX, strlen(TWS_RUN_PREFIX)) == 0 ||
	       (length > end && strcmp(name + length - end, UNIT_SUFFIX) == 0);
}

int tws_rundir_each(const char *path, tws_rundir_visitor visit, void *data)
{
	int fd = tws_rundir_open(path);
	struct dirent *entry;
	int result;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		result = -errno;
		close(fd);
		return result;
	}
	result = visit(fd, "", data);
	rewinddir(dir);
	while (result == 0 && (entry = readdir(dir)) != NULL)
		if (tws_rundir_is_below(entry->d_name))
			result = visit_below(dir, entry->d_name, visit, data);
	closedir(dir);
	return result;
}
