/* SPDX-License-Identifier: MIT */
#include "tools/segments/prepare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shim/shared/policy_image.h"
#include "shim/shared/rundir.h"

#define MOUNT_FLAGS   (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define MOUNT_OPTIONS "mode=0755,uid=0,gid=0,size=10%,nr_inodes=65536"
#define OPEN_FLAGS    (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* A file system of its own, in memory. */
static bool is_own_tmpfs(int fd)
{
	struct stat here, above;
	struct statfs fs;

	return fstat(fd, &here) == 0 && fstatat(fd, "..", &above, 0) == 0 &&
	       here.st_dev != above.st_dev && fstatfs(fd, &fs) == 0 &&
	       fs.f_type == TMPFS_MAGIC;
}

static bool is_empty(int fd)
{
	int copy = openat(fd, ".", OPEN_FLAGS);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	int entries = 0;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return false;
	}
	while (entries < 3 && readdir(dir))
		entries++;
	closedir(dir);
	return entries < 3;
}

/* Root's, and nobody else can write it. A descriptor, or -errno. */
static int open_roots(const char *path)
{
	int fd = open(path, OPEN_FLAGS);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return fd;
	close(fd);
	return -EBUSY;
}

/* Mounts nothing over files that somebody uses. */
static int open_system(void)
{
	int fd;

	if (mkdir(TWS_SYSTEM_DIRECTORY, 0755) == 0)
		chmod(TWS_SYSTEM_DIRECTORY, 0755);
	fd = open_roots(TWS_SYSTEM_DIRECTORY);
	if (fd < 0 || is_own_tmpfs(fd) || !is_empty(fd))
		return fd;
	if (mount("twshim", TWS_SYSTEM_DIRECTORY, "tmpfs", MOUNT_FLAGS, MOUNT_OPTIONS) !=
	    0)
		return fd;
	close(fd);
	return open_roots(TWS_SYSTEM_DIRECTORY);
}

/* One that is there and belongs to somebody else is not touched. */
static int make_directory(int above, const char *name, uid_t user, mode_t mode)
{
	struct stat st;
	int fd, result = 0;

	if (mkdirat(above, name, 0700) != 0)
		return errno == EEXIST &&
			       fstatat(above, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			       S_ISDIR(st.st_mode) && st.st_uid == user
			   ? 0
			   : -EBUSY;
	fd = openat(above, name, OPEN_FLAGS);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, mode) != 0 || fchown(fd, user, (gid_t)-1) != 0)
		result = -errno;
	close(fd);
	return result;
}

static int make_users(int above, uid_t user)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", (unsigned)user);
	return make_directory(above, name, user, 0700);
}

static int make_known_users(int above)
{
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd *entry;
	int result = 0;

	while (file && (entry = fgetpwent(file)) != NULL) {
		int made = make_users(above, entry->pw_uid);

		result = result ? result : made;
	}
	if (file)
		fclose(file);
	return result;
}

/* Sparse, except for the page that every process touches. */
int prepare_control_size(int fd)
{
	int result = -posix_fallocate(fd, 0, TWS_POLICY_PAGE);

	if (result == 0 && ftruncate(fd, TWS_POLICY_FILE_SIZE) != 0)
		result = -errno;
	return result;
}

/* It appears whole and with one link, and one that was made meanwhile stays. */
int prepare_control(int directory, mode_t mode)
{
	int fd, result;
	char path[64];

	if (faccessat(directory, TWS_POLICY_CONTROL, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	result = prepare_control_size(fd);
	if (result == 0 && fchmod(fd, mode) != 0)
		result = -errno;
	if (result == 0 &&
	    linkat(AT_FDCWD, path, directory, TWS_POLICY_CONTROL, AT_SYMLINK_FOLLOW) !=
		0 &&
	    errno != EEXIST)
		result = -errno;
	close(fd);
	return result;
}

/* The system's policy is there before any is loaded, so that a process that begins now
 * can follow it from a chroot. */
static int make_policy(int above)
{
	int result = make_directory(above, TWS_POLICY_DIRECTORY, 0, 0755);
	int fd = result ? result : openat(above, TWS_POLICY_DIRECTORY, OPEN_FLAGS);

	if (fd < 0)
		return result ? result : -errno;
	result = prepare_control(fd, 0644);
	close(fd);
	return result;
}

static int make_own(int above)
{
	int result = make_policy(above);

	result = result ? result : make_directory(above, "run", 0, 0711);
	result = result ? result : make_directory(above, "seen", 0, 0711);
	return result ? result : make_users(above, 0);
}

int prepare_places(void)
{
	const char *given = getenv("TWSHIM_DIR");
	int fd, result;

	if (geteuid() != 0 || (given && *given))
		return 0;
	fd = open_system();
	if (fd < 0)
		return fd;
	result = make_own(fd);
	if (result == 0 && is_own_tmpfs(fd))
		result = make_known_users(fd);
	close(fd);
	return result;
}

int prepare_user(uid_t user)
{
	int fd = open_system();
	int result;

	if (fd < 0)
		return fd;
	result = is_own_tmpfs(fd) ? make_users(fd, user) : -EPERM;
	close(fd);
	return result;
}
