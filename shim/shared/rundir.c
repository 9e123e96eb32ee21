/* SPDX-License-Identifier: MIT
 *
 * Finds and opens the directory of a user, so that no link, squatter or other namespace
 * can lead a program elsewhere.
 */
#include "shim/shared/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "shim/shared/sys.h"
#include "shim/shared/text.h"

/* The inode number of the first user namespace; see include/linux/proc_ns.h of Linux. */
#define FIRST_USER_NAMESPACE 0xeffffffdu
/* What an owner outside of a user namespace looks like within; see user_namespaces(7). */
#define OVERFLOW_USER 65534

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* 0: it is the first one, or cannot be told. */
static uint64_t user_namespace(void)
{
	struct stat stat = {0};

	if (tws_sys4(SYS_newfstatat, AT_FDCWD, "/proc/self/ns/user", &stat, 0) != 0 ||
	    stat.st_ino == FIRST_USER_NAMESPACE)
		return 0;
	return stat.st_ino;
}

static void system_path(uint32_t user, char *ret_path, size_t size)
{
	struct tws_text text = tws_text_begin(ret_path, size);

	tws_text_add(&text, TWS_SYSTEM_DIRECTORY "/");
	tws_text_number(&text, user);
}

static void shm_path(uint32_t user, char *ret_path, size_t size)
{
	struct tws_text text = tws_text_begin(ret_path, size);
	uint64_t namespace = user_namespace();

	tws_text_add(&text, TWS_SHARED_MEMORY);
	tws_text_number(&text, user);
	if (!namespace)
		return;
	tws_text_add(&text, "-");
	tws_text_number(&text, namespace);
}

static void given_path(const char *given, char *ret_path, size_t size)
{
	struct tws_text text = tws_text_begin(ret_path, size);

	tws_text_add(&text, given);
}

void tws_place_path(enum tws_place place, const char *given, uint32_t user,
		    char *ret_path, size_t size)
{
	if (place == TWS_PLACE_GIVEN)
		given_path(given, ret_path, size);
	else if (place == TWS_PLACE_SYSTEM)
		system_path(user, ret_path, size);
	else
		shm_path(user, ret_path, size);
}

static long file_system_of(int fd, struct statfs *ret_fs)
{
#ifdef __LP64__
	return tws_sys2(SYS_fstatfs, fd, ret_fs);
#else
	return tws_sys3(TWS_FSTATFS64, fd, sizeof(*ret_fs), ret_fs);
#endif
}

static bool is_users_in_memory(int fd, uint32_t user)
{
	struct stat stat = {0};
	struct statfs fs = {0};

	return tws_sys2(SYS_fstat, fd, &stat) == 0 && stat.st_uid == user &&
	       !(stat.st_mode & (S_IWGRP | S_IWOTH)) && file_system_of(fd, &fs) == 0 &&
	       fs.f_type == TMPFS_MAGIC;
}

static int open_at(int above, const char *name, uint32_t user)
{
	int fd = (int)tws_sys4(SYS_openat, above, name, DIRECTORY_FLAGS, 0);

	if (fd < 0 || is_users_in_memory(fd, user))
		return fd;
	tws_sys1(SYS_close, fd);
	return -EPERM;
}

/* Only root may have put an entry into the directory above. */
static int open_system(uint32_t user)
{
	char path[48];
	int above = open_at(AT_FDCWD, TWS_SYSTEM_DIRECTORY, 0);
	int fd;

	if (above < 0)
		return above;
	system_path(user, path, sizeof(path));
	fd = open_at(above, path + sizeof(TWS_SYSTEM_DIRECTORY), user);
	tws_sys1(SYS_close, above);
	return fd;
}

int tws_place_open(enum tws_place place, const char *given, uint32_t user, bool make)
{
	char path[1024];
	int fd;

	if (place == TWS_PLACE_SYSTEM)
		return open_system(user);
	/* In a user namespace this user's files may be anybody's outside. */
	if (user == OVERFLOW_USER && user_namespace())
		return -EPERM;
	tws_place_path(place, given, user, path, sizeof(path));
	fd = open_at(AT_FDCWD, path, user);
	if (fd == -ENOENT && make && tws_sys3(SYS_mkdirat, AT_FDCWD, path, 0700) == 0)
		fd = open_at(AT_FDCWD, path, user);
	return fd;
}

static bool is_anothers(const char *path, uint32_t user)
{
	struct stat stat = {0};

	return tws_sys4(SYS_newfstatat, AT_FDCWD, path, &stat, AT_SYMLINK_NOFOLLOW) ==
		   0 &&
	       S_ISDIR(stat.st_mode) && stat.st_uid != user;
}

int tws_place_find(const char *given, uint32_t user, bool make, enum tws_place *place)
{
	int fd = -ENOENT;

	if (*given && !is_anothers(given, user)) {
		if (*place != TWS_PLACE_GIVEN)
			return -ENOENT;
		return tws_place_open(TWS_PLACE_GIVEN, given, user, make);
	}
	if (*place == TWS_PLACE_GIVEN)
		*place = TWS_PLACE_SYSTEM;
	for (; *place <= TWS_PLACE_SHM; (*place)++) {
		fd = tws_place_open(*place, given, user, make);
		if (fd >= 0)
			break;
	}
	return fd;
}

/* --------------------------------------------------------------------- runs */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tws_run_parse(const char *tag, uint8_t ret_run[TWS_RUN_SIZE])
{
	uint8_t run[TWS_RUN_SIZE];

	for (unsigned i = 0; i < TWS_RUN_SIZE; i++) {
		int high = hex_digit(tag[2 * i]);
		int low = high < 0 ? -1 : hex_digit(tag[2 * i + 1]);

		if (low < 0)
			return false;
		run[i] = (uint8_t)(high << 4 | low);
	}
	if (tag[2 * TWS_RUN_SIZE] || !tws_run_is_set(run))
		return false;
	memcpy(ret_run, run, TWS_RUN_SIZE);
	return true;
}

void tws_run_tag(const uint8_t run[TWS_RUN_SIZE], char ret_tag[TWS_RUN_TAG_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < TWS_RUN_SIZE; i++) {
		ret_tag[2 * i] = digits[run[i] >> 4];
		ret_tag[2 * i + 1] = digits[run[i] & 15];
	}
	ret_tag[2 * TWS_RUN_SIZE] = '\0';
}

bool tws_run_is_set(const uint8_t run[TWS_RUN_SIZE])
{
	uint8_t all = 0;

	for (unsigned i = 0; i < TWS_RUN_SIZE; i++)
		all |= run[i];
	return all != 0;
}

bool tws_run_goes_on(int place, const uint8_t run[TWS_RUN_SIZE])
{
	char tag[TWS_RUN_TAG_SIZE], path[64];
	struct tws_text text;

	if (!tws_run_is_set(run))
		return false;
	tws_run_tag(run, tag);
	text = tws_text_begin(path, sizeof(path));
	tws_text_add(&text, TWS_SYSTEM_DIRECTORY "/run/");
	tws_text_add(&text, tag);
	if (tws_sys3(SYS_faccessat, AT_FDCWD, path, 0) == 0)
		return true;
	text = tws_text_begin(path, sizeof(path));
	tws_text_add(&text, TWS_RUN_PREFIX);
	tws_text_add(&text, tag);
	return tws_sys3(SYS_faccessat, place, path, 0) == 0;
}
