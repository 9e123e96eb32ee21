/* SPDX-License-Identifier: MIT */
#include "tools/segments/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shim/shared/rundir.h"
#include "shim/shared/segment.h"
#include "tools/segments/beneath.h"
#include "tools/segments/seen.h"

#define UNIT_SUFFIX	".service"
#define OPEN_FLAGS	(O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define USERS_DIRECTORY "/run/user/"
#define PLACE_SIZE	128
#define SEGMENT_LEAST	65536 /* bytes: what a new segment takes before it is used */

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* The first place that can be used, or the one that a program would make. */
static enum tws_place find_place(const char *given)
{
	enum tws_place place = TWS_PLACE_GIVEN;
	int fd = tws_place_find(given, geteuid(), false, &place);

	if (fd >= 0)
		close(fd);
	return place > TWS_PLACE_SHM ? TWS_PLACE_SHM : place;
}

int tws_rundir_find(char *ret_path, size_t size)
{
	const char *given = environment("TWSHIM_DIR");

	if (given && *given != '/')
		return -EINVAL;
	if (given && strlen(given) >= size)
		return -ENAMETOOLONG;
	tws_place_path(given ? TWS_PLACE_GIVEN : find_place(""), given ? given : "",
		       geteuid(), ret_path, size);
	return 0;
}

/* Where others may write, programs do not publish, also not under the sticky bit. */
static bool is_trusted(const struct stat *st)
{
	bool ours = st->st_uid == geteuid() || st->st_uid == 0;

	return ours && !(st->st_mode & (S_IWGRP | S_IWOTH));
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

/* A file system of a user's own that answers to root (FUSE) could keep it waiting. */
static bool is_mounted_by_user(const char *path)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *mount;
	bool ret = false;

	while (mounts && (mount = getmntent(mounts)) != NULL)
		if (strcmp(mount->mnt_dir, path) == 0)
			ret = strcmp(mount->mnt_type, "tmpfs") != 0;
	if (mounts)
		endmntent(mounts);
	return ret;
}

/* A place that may belong to another user than root, who may have mounted something over
 * it. */
static bool is_users_place(const char *path)
{
	static const char *const places[] = {
	    TWS_SYSTEM_DIRECTORY "/[1-9]*",
	    TWS_SHARED_MEMORY "[0-9]*",
	    USERS_DIRECTORY "[0-9]*/twshim",
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (fnmatch(places[i], path, FNM_PATHNAME) == 0)
			return geteuid() == 0;
	return false;
}

static int open_users_place(const char *path)
{
	char above_path[PLACE_SIZE], *slash;
	const char *name;
	int above, fd;

	snprintf(above_path, sizeof(above_path), "%s", path);
	slash = strrchr(above_path, '/');
	if (!slash)
		return -EINVAL;
	*slash = '\0';
	name = slash + 1;
	if (strncmp(path, USERS_DIRECTORY, strlen(USERS_DIRECTORY)) == 0 &&
	    is_mounted_by_user(above_path))
		return -EXDEV;
	above = open(above_path, OPEN_FLAGS);
	if (above < 0)
		return -errno;
	fd = open_beneath(above, name, O_DIRECTORY);
	close(above);
	return fd;
}

int tws_rundir_open(const char *path)
{
	int fd = is_users_place(path) ? open_users_place(path) : open(path, OPEN_FLAGS);

	if (fd == -1)
		fd = -errno;
	return fd == -ELOOP ? -ENOTDIR : fd;
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
	int fd = open_beneath(dirfd(dir), name, O_DIRECTORY);
	int result;

	if (fd < 0)
		return 0;
	result = visit(fd, name, data);
	close(fd);
	return result;
}

/* Directories that are not read twice: the main one. */
static bool is_main(const struct stat *st)
{
	struct stat main = {0};
	char path[4096];
	int fd;

	if (tws_rundir_find(path, sizeof(path)) != 0)
		return false;
	fd = tws_rundir_open(path);
	if (fd < 0)
		return false;
	fstat(fd, &main);
	close(fd);
	return main.st_dev == st->st_dev && main.st_ino == st->st_ino;
}

/* A directory, not a link, that belongs to the user in its name. In the name of one of
 * another user namespace the number is that user's in there. */
static bool is_users(const char *path, const char *before)
{
	int fd = tws_rundir_open(path);
	unsigned long uid;
	struct stat st;
	bool ret;
	char *end;

	if (fd < 0)
		return false;
	uid = strtoul(path + strlen(before), &end, 10);
	ret = fstat(fd, &st) == 0 && (st.st_uid == uid || *end == '-') && !is_main(&st);
	close(fd);
	return ret;
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

/* Where shims of the former release published. */
static int visit_former(int (*visit)(const char *path, void *data), void *data)
{
	const char *runtime = environment("XDG_RUNTIME_DIR");
	char path[4096];
	struct stat st;
	int result = 0;

	if (lstat(TWS_SYSTEM_DIRECTORY, &st) == 0 && S_ISDIR(st.st_mode) && !is_main(&st))
		result = visit(TWS_SYSTEM_DIRECTORY, data);
	if (result != 0)
		return result;
	if (geteuid() == 0)
		return visit_pattern("/run/user/[0-9]*/twshim", "/run/user/", visit,
				     data);
	if (!runtime || *runtime != '/' ||
	    snprintf(path, sizeof(path), "%s/twshim", runtime) >= (int)sizeof(path) ||
	    lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) || is_main(&st))
		return 0;
	return visit(path, data);
}

/* A user's own other place, or the places of all users. */
static int visit_places(int (*visit)(const char *path, void *data), void *data)
{
	const bool all = geteuid() == 0;
	char pattern[64];
	int result;

	snprintf(pattern, sizeof(pattern), all ? "%s/[0-9]*" : "%s/%u",
		 TWS_SYSTEM_DIRECTORY, (unsigned)geteuid());
	result = visit_pattern(pattern, TWS_SYSTEM_DIRECTORY "/", visit, data);
	if (result != 0)
		return result;
	if (all)
		snprintf(pattern, sizeof(pattern), TWS_SHARED_MEMORY "[0-9]*");
	else
		tws_place_path(TWS_PLACE_SHM, "", geteuid(), pattern, sizeof(pattern));
	return visit_pattern(pattern, TWS_SHARED_MEMORY, visit, data);
}

int tws_rundir_others_always(int (*visit)(const char *path, void *data), void *data)
{
	int result = visit_places(visit, data);

	result = result ? result : seen_each(visit, data);
	return result ? result : visit_former(visit, data);
}

int tws_rundir_others(int (*visit)(const char *path, void *data), void *data)
{
	return environment("TWSHIM_DIR") ? 0 : tws_rundir_others_always(visit, data);
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
