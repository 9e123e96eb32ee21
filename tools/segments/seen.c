/* SPDX-License-Identifier: MIT */
#include "tools/segments/seen.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OPEN_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define PATH_SIZE  64

/* As the kernel's acl(5) attribute has it; the entries are in the order of their tags. */
struct access_list {
	struct posix_acl_xattr_header header;
	struct posix_acl_xattr_entry entry[5];
};

static struct posix_acl_xattr_entry acl_entry(unsigned tag, unsigned rights, uint32_t id)
{
	return (struct posix_acl_xattr_entry){.e_tag = htole16((uint16_t)tag),
					      .e_perm = htole16((uint16_t)rights),
					      .e_id = htole32(id)};
}

/* Files inherit the default list, less what the mode of each leaves out (the mask). */
static int let_read(int fd, uid_t user)
{
	const uint32_t none = (uint32_t)ACL_UNDEFINED_ID;
	const unsigned read = ACL_READ | ACL_EXECUTE;
	const struct access_list list = {
	    .header.a_version = htole32(POSIX_ACL_XATTR_VERSION),
	    .entry = {acl_entry(ACL_USER_OBJ, read | ACL_WRITE, none),
		      acl_entry(ACL_USER, read, user), acl_entry(ACL_GROUP_OBJ, 0, none),
		      acl_entry(ACL_MASK, read, none), acl_entry(ACL_OTHER, 0, none)},
	};

	if (fsetxattr(fd, "system.posix_acl_default", &list, sizeof(list), 0) != 0 ||
	    fsetxattr(fd, "system.posix_acl_access", &list, sizeof(list), 0) != 0)
		return -errno;
	return 0;
}

static bool is_roots(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_uid == 0 &&
	       !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/* The only directory is $TWSHIM_DIR. */
static bool has_given(void)
{
	const char *given = getenv("TWSHIM_DIR");

	return given && *given;
}

/* A directory of root's that nobody else can write, in one that is likewise. */
static int open_above(void)
{
	int system = tws_place_open(TWS_PLACE_GIVEN, TWS_SYSTEM_DIRECTORY, 0, false);

	if (system < 0)
		return system;
	close(system);
	return tws_place_open(TWS_PLACE_GIVEN, SEEN_DIRECTORY, 0, false);
}

int seen_open(uid_t user)
{
	int above = has_given() ? -ENOENT : open_above(), fd, result;
	char name[16];

	if (above < 0)
		return above;
	snprintf(name, sizeof(name), "%u", (unsigned)user);
	fd = mkdirat(above, name, 0700) == 0 || errno == EEXIST
		 ? openat(above, name, OPEN_FLAGS)
		 : -1;
	result = fd < 0 ? -errno : 0;
	close(above);
	if (result == 0 && !is_roots(fd))
		result = -EPERM;
	if (result == 0)
		result = let_read(fd, user);
	if (result == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return result;
}

static int visit_one(const char *path, int (*visit)(const char *path, void *data),
		     void *data)
{
	int fd = open(path, OPEN_FLAGS);
	bool trusted = fd >= 0 && is_roots(fd);

	if (fd >= 0)
		close(fd);
	return trusted ? visit(path, data) : 0;
}

int seen_each(int (*visit)(const char *path, void *data), void *data)
{
	char pattern[PATH_SIZE];
	glob_t found;
	int result = 0;

	if (has_given())
		return 0;
	snprintf(pattern, sizeof(pattern), SEEN_DIRECTORY "/%u", (unsigned)geteuid());
	if (geteuid() != 0)
		return visit_one(pattern, visit, data);
	if (glob(SEEN_DIRECTORY "/[0-9]*", GLOB_NOSORT, NULL, &found) != 0)
		return 0;
	for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
		result = visit_one(found.gl_pathv[i], visit, data);
	globfree(&found);
	return result;
}

bool seen_is_one(int directory)
{
	struct stat above, seen;

	return fstatat(directory, "..", &above, 0) == 0 &&
	       stat(SEEN_DIRECTORY, &seen) == 0 && above.st_dev == seen.st_dev &&
	       above.st_ino == seen.st_ino;
}
