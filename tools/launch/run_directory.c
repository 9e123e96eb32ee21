/* SPDX-License-Identifier: MIT */
#include "tools/launch/run_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/fold.h"
#include "shim/shared/rundir.h"
#include "tools/kernel/lineage.h"
#include "tools/segments/prepare.h"
#include "tools/segments/reader.h"
#include "tools/segments/rundir.h"
#include "tools/segments/seen.h"

#define KEEP_MARK "keep" /* a file: the directory is not to be removed */
#define ROOTS	  TWS_SYSTEM_DIRECTORY "/run"
#define TRIES	  100
#define PAUSE_NS  10000000

/* ------------------------------------------------------------------- creating */

/* Locks a directory if its owner is gone. A descriptor, or -errno. */
static int lock(const char *path)
{
	int fd = tws_rundir_open(path);
	struct stat st;
	int result;

	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
		return fd;
	result = errno == EWOULDBLOCK ? -EBUSY : -ENOENT;
	close(fd);
	return result;
}

/* Root's runs are where processes that become other users can read their policy. */
static bool is_roots(const struct run_directory *directory)
{
	return strncmp(directory->path, ROOTS "/", strlen(ROOTS "/")) == 0;
}

static bool has_roots_place(void)
{
	const char *given = getenv("TWSHIM_DIR");
	struct stat st;

	return geteuid() == 0 && !(given && *given) && lstat(ROOTS, &st) == 0 &&
	       S_ISDIR(st.st_mode) && st.st_uid == 0;
}

/* `tag` NULL: a random one. */
static int choose(struct run_directory *directory, const char *tag)
{
	int length;

	if (tag && !tws_run_parse(tag, directory->run))
		return -EINVAL;
	if (!tag && getrandom(directory->run, sizeof(directory->run), 0) !=
			(ssize_t)sizeof(directory->run))
		return -errno;
	tws_run_tag(directory->run, directory->tag);
	length = has_roots_place() ? snprintf(directory->path, sizeof(directory->path),
					      ROOTS "/%s", directory->tag)
				   : snprintf(directory->path, sizeof(directory->path),
					      "%.*s/" TWS_RUN_PREFIX "%s", PATH_MAX - 64,
					      directory->main, directory->tag);
	directory->policy_mode = is_roots(directory) ? 0644 : 0600;
	return length < 0 ? -EINVAL : 0;
}

/* A sweep may come between making it and locking it: then another is made. One of a given
 * tag may be in use by another command for a moment. */
static int make_locked(struct run_directory *directory, const char *tag)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int result = -EBUSY;

	for (int i = 0; i < TRIES && result < 0; i++) {
		if (i > 0 && tag)
			nanosleep(&pause, NULL);
		result = choose(directory, tag);
		if (result != 0)
			return result;
		if ((mkdir(directory->path, 0700) != 0 && !(tag && errno == EEXIST)) ||
		    chmod(directory->path, is_roots(directory) ? 0711 : 0700) != 0)
			return -errno;
		result = lock(directory->path);
	}
	directory->fd = result;
	return result < 0 ? result : 0;
}

static int make(struct run_directory *directory, const char *tag)
{
	int result;

	directory->place = tws_rundir_open(directory->main);
	if (directory->place < 0)
		return directory->place;
	result = make_locked(directory, tag);
	if (result == 0)
		return 0;
	close(directory->place);
	directory->place = -1;
	return result;
}

static int explain(char *ret_error, size_t size, const char *path, int error)
{
	const char *why = error == EPERM ? "others may change it" : strerror(error);

	if (error == ENOSPC) {
		snprintf(ret_error, size,
			 "%s: no room is left on this tmpfs: make room there, or set "
			 "TWSHIM_DIR to a directory of your own on another",
			 path);
		return -error;
	}
	snprintf(ret_error, size,
		 "%s: %s: set TWSHIM_DIR to a directory of your own on a tmpfs, such as "
		 "/dev/shm/twshim-%u",
		 path, why, (unsigned)geteuid());
	return -error;
}

/* Finds or makes the place. */
static int find_place(char ret_main[PATH_MAX], char *ret_error, size_t size)
{
	int result = tws_rundir_find(ret_main, PATH_MAX);

	if (result != 0)
		return explain(ret_error, size, "the run-time directory", -result);
	result = tws_rundir_create(ret_main);
	if (result != 0)
		return explain(ret_error, size, ret_main, -result);
	if (tws_rundir_check(ret_main) != -EXDEV)
		return 0;
	snprintf(
	    ret_error, size,
	    "%s: not in memory, and programs would not publish there: set TWSHIM_DIR "
	    "to a directory on a tmpfs, such as /dev/shm/twshim-%u",
	    ret_main, (unsigned)geteuid());
	return -EINVAL;
}

static int create(struct run_directory *ret_directory, const char *tag, char *ret_error,
		  size_t size)
{
	int result;

	ret_directory->fd = ret_directory->place = -1;
	prepare_places();
	result = find_place(ret_directory->main, ret_error, size);
	if (result != 0)
		return result;
	result = make(ret_directory, tag);
	return result ? explain(ret_error, size, ret_directory->main, -result) : 0;
}

int run_directory_open_place(char *ret_error, size_t size)
{
	char main_path[PATH_MAX];
	int result = find_place(main_path, ret_error, size);

	if (result != 0)
		return result;
	result = tws_rundir_open(main_path);
	return result < 0 ? explain(ret_error, size, main_path, -result) : result;
}

int run_directory_create(struct run_directory *ret_directory, char *ret_error,
			 size_t size)
{
	return create(ret_directory, NULL, ret_error, size);
}

int run_directory_name(struct run_directory *ret_directory, const char *tag,
		       char *ret_error, size_t size)
{
	return create(ret_directory, tag, ret_error, size);
}

/* ------------------------------------------------------------------- removing */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name), tail = strlen(suffix);

	return length > tail && strcmp(name + length - tail, suffix) == 0;
}

/* Calls `visit` with each name in an open directory. */
static void each_name(int fd,
		      void (*visit)(int fd, const char *name,
				    const struct run_directory *directory),
		      const struct run_directory *directory)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		visit(fd, entry->d_name, directory);
	if (dir)
		closedir(dir);
	else if (copy >= 0)
		close(copy);
}

static void remove_name(int fd, const char *name, const struct run_directory *directory)
{
	(void)directory;
	unlinkat(fd, name, 0);
}

/* Nobody but tools writes in it: the policy, its lock and the mark. */
static void remove_directory(const char *path, int fd)
{
	each_name(fd, remove_name, NULL);
	rmdir(path);
}

/* An observer needs no look: it is the owner of the directory, which the lock tells of.
 */
static int is_alive(struct segment *segment, void *data)
{
	return segment->header.observer == TWS_OBSERVER_SHIM &&
	       segment->life != PROCESS_DEAD &&
	       segment->header.state != TWS_SEGMENT_TOTALS;
}

static bool has_live_segment(const uint8_t run[TWS_RUN_SIZE], const char *main_path)
{
	struct reader reader;
	int result = reader_init(&reader);

	reader.run = run;
	if (result == 0)
		result = reader_read_everywhere(&reader, main_path, is_alive, NULL);
	reader_free(&reader);
	return result > 0;
}

static bool is_used(const char *tag, const uint8_t run[TWS_RUN_SIZE],
		    const char *main_path)
{
	return lineage_of_run(tag, NULL, 0) > 0 || has_live_segment(run, main_path);
}

bool run_directory_is_used(const struct run_directory *directory)
{
	return is_used(directory->tag, directory->run, directory->main);
}

static bool is_kept(int fd)
{
	return faccessat(fd, KEEP_MARK, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void mark_kept(int fd)
{
	int mark = openat(fd, KEEP_MARK, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (mark >= 0)
		close(mark);
}

/* -------------------------------------------------------------------- the end */

static int fold_in(const char *path, void *data)
{
	const struct tws_fold_limits usual = {0};
	int fd = tws_rundir_open(path);

	(void)data;
	if (fd < 0)
		return 0;
	tws_fold(fd, &usual);
	close(fd);
	return 0;
}

static void let_go(struct run_directory *directory)
{
	close(directory->fd);
	close(directory->place);
	directory->fd = directory->place = -1;
}

void run_directory_finish(struct run_directory *directory, bool keep)
{
	if (directory->fd < 0)
		return;
	if (keep)
		mark_kept(directory->fd);
	else if (!run_directory_is_used(directory))
		remove_directory(directory->path, directory->fd);
	let_go(directory);
	run_directory_sweep(directory->main);
	fold_in(directory->main, NULL);
	if (geteuid() == 0)
		seen_each(fold_in, NULL);
}

void run_directory_leave(struct run_directory *directory)
{
	if (directory->fd < 0)
		return;
	mark_kept(directory->fd);
	let_go(directory);
}

static bool is_of_run(int fd, const char *name, const struct run_directory *directory)
{
	struct tws_header header;
	int file;
	bool ret;

	if (has_suffix(name, TWS_TOTALS_SUFFIX))
		return strstr(name, directory->tag) != NULL;
	if (!has_suffix(name, TWS_SEGMENT_SUFFIX))
		return false;
	file = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ret = file >= 0 && read(file, &header, sizeof(header)) == sizeof(header) &&
	      memcmp(header.run, directory->run, TWS_RUN_SIZE) == 0;
	if (file >= 0)
		close(file);
	return ret;
}

static void remove_if_of_run(int fd, const char *name,
			     const struct run_directory *directory)
{
	if (is_of_run(fd, name, directory))
		unlinkat(fd, name, 0);
}

static int discard_seen(const char *path, void *directory)
{
	int fd = geteuid() == 0 ? tws_rundir_open(path) : -1;

	if (fd < 0)
		return 0;
	each_name(fd, remove_if_of_run, directory);
	close(fd);
	return 0;
}

void run_directory_discard(struct run_directory *directory)
{
	if (directory->fd < 0)
		return;
	each_name(directory->place, remove_if_of_run, directory);
	seen_each(discard_seen, directory);
	remove_directory(directory->path, directory->fd);
	let_go(directory);
}

static void sweep_one(const char *path, const char *tag, const char *main_path)
{
	uint8_t run[TWS_RUN_SIZE];
	int fd = tws_run_parse(tag, run) ? lock(path) : -ENOENT;

	if (fd < 0)
		return;
	if (!is_kept(fd) && !is_used(tag, run, main_path))
		remove_directory(path, fd);
	close(fd);
}

static void sweep_in(const char *above, const char *prefix, const char *main_path)
{
	DIR *dir = opendir(above);
	struct dirent *entry;
	char path[PATH_MAX];

	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
		    snprintf(path, sizeof(path), "%s/%s", above, entry->d_name) <
			(int)sizeof(path))
			sweep_one(path, entry->d_name + strlen(prefix), main_path);
	closedir(dir);
}

void run_directory_sweep(const char *main_path)
{
	sweep_in(main_path, TWS_RUN_PREFIX, main_path);
	if (has_roots_place())
		sweep_in(ROOTS, "", main_path);
}
