/* SPDX-License-Identifier: MIT
 *
 * What goes up keeps its name, since a segment's is its process's and no other's. Totals
 * are named after the application, and the main directory has its own: they go up under
 * a segment's kind of name, to be folded into those.
 */
#include "tools/launch/run_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shim/shared/fold.h"
#include "tools/kernel/lineage.h"
#include "tools/segments/reader.h"
#include "tools/segments/prepare.h"
#include "tools/segments/rundir.h"

#define KEEP_MARK "keep" /* a file: the directory is not to be cleared */
#define TRIES	  10

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

/* A sweep may come between making it and locking it: then another is made. */
static int make(struct run_directory *directory)
{
	int result = -EBUSY;

	for (int i = 0; i < TRIES && result < 0; i++) {
		int length = snprintf(directory->path, sizeof(directory->path),
				      "%.*s/" TWS_RUN_PREFIX "%d-XXXXXX", PATH_MAX - 64,
				      directory->main, (int)getpid());

		if (length < 0 || !mkdtemp(directory->path))
			return -errno;
		result = lock(directory->path);
	}
	directory->fd = result;
	return result < 0 ? result : 0;
}

static int explain(char *ret_error, size_t size, const char *path, int error)
{
	const char *why = error == EPERM ? "others may change it" : strerror(error);

	snprintf(ret_error, size,
		 "%s: %s: set TWSHIM_DIR to a directory of your own on a tmpfs, such as "
		 "/dev/shm/twshim-%u",
		 path, why, (unsigned)geteuid());
	return -error;
}

/* Programs publish nowhere else. */
static bool is_in_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

int run_directory_create(struct run_directory *ret_directory, char *ret_error,
			 size_t size)
{
	int result;

	ret_directory->fd = -1;
	prepare_places();
	result = tws_rundir_find(ret_directory->main, sizeof(ret_directory->main));
	if (result != 0)
		return explain(ret_error, size, "the run-time directory", -result);
	result = tws_rundir_create(ret_directory->main);
	if (result == 0)
		result = make(ret_directory);
	if (result != 0)
		return explain(ret_error, size, ret_directory->main, -result);
	if (is_in_memory(ret_directory->fd))
		return 0;
	run_directory_discard(ret_directory);
	snprintf(
	    ret_error, size,
	    "%s: not in memory, and programs would not publish there: set TWSHIM_DIR "
	    "to a directory on a tmpfs, such as /dev/shm/twshim-%u",
	    ret_directory->main, (unsigned)geteuid());
	return -EINVAL;
}

/* ------------------------------------------------------------------- clearing */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name), tail = strlen(suffix);

	return length > tail && strcmp(name + length - tail, suffix) == 0;
}

#define DISCARD_TRIES 8

struct clearing {
	int from;
	int to; /* -1: to nowhere */
	const char *name;
};

/* The digits and letters of "run-PID-XXXXXX" tell one run's totals from another's. */
static void move_totals(const struct clearing *clearing, const char *name)
{
	char new_name[NAME_MAX + 1];

	if (snprintf(new_name, sizeof(new_name), "%.20s-%.40s" TWS_SEGMENT_SUFFIX, name,
		     clearing->name) > 0)
		renameat(clearing->from, name, clearing->to, new_name);
}

static void clear_entry(const struct clearing *clearing, const struct dirent *entry)
{
	const char *name = entry->d_name;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return;
	if (clearing->to >= 0 && has_suffix(name, TWS_TOTALS_SUFFIX))
		move_totals(clearing, name);
	else if (clearing->to >= 0 &&
		 (has_suffix(name, TWS_SEGMENT_SUFFIX) || entry->d_type == DT_DIR))
		renameat(clearing->from, name, clearing->to, name);
	else
		unlinkat(clearing->from, name, 0);
}

/* Once: names that readdir() may pass over for what is moved are left for the next. */
static void clear(const struct clearing *clearing)
{
	int fd = openat(clearing->from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		clear_entry(clearing, entry);
	closedir(dir);
}

/* Takes no segment away, but unlinks those that a fold counted and did not live to
 * unlink: moved up they would be counted again. */
static void finish_folding(int fd)
{
	const struct tws_fold_limits none = {
	    .retention_s = UINT32_MAX, .max_segments = UINT32_MAX, .most = 1};

	tws_fold(fd, &none);
}

static void move_up(const char *main_path, const char *path, int fd)
{
	int main_fd = tws_rundir_open(main_path);
	struct clearing clearing = {
	    .from = fd, .to = main_fd, .name = strrchr(path, '/') + 1};

	if (main_fd < 0)
		return;
	finish_folding(fd);
	clear(&clearing);
	close(main_fd);
	rmdir(path);
}

/* ----------------------------------------------------------------- who uses it */

static int is_alive(struct segment *segment, void *data)
{
	if (segment->header.observer != TWS_OBSERVER_SHIM)
		return segment->is_observed;
	return segment->life != PROCESS_DEAD;
}

static bool has_live_segment(const char *path)
{
	struct reader reader;
	int result = reader_init(&reader);

	if (result == 0)
		result = reader_read(&reader, path, true, is_alive, NULL);
	reader_free(&reader);
	return result > 0;
}

static bool is_used(const char *path)
{
	return has_live_segment(path) || lineage_of_directory(path, NULL, 0) > 0;
}

bool run_directory_is_used(const struct run_directory *directory)
{
	return is_used(directory->path);
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

static void fold_main(const char *main_path)
{
	const struct tws_fold_limits usual = {0};
	int fd = tws_rundir_open(main_path);

	if (fd < 0)
		return;
	tws_fold(fd, &usual);
	close(fd);
}

void run_directory_finish(struct run_directory *directory, bool keep)
{
	if (directory->fd < 0)
		return;
	if (keep)
		mark_kept(directory->fd);
	else if (!is_used(directory->path))
		move_up(directory->main, directory->path, directory->fd);
	close(directory->fd);
	directory->fd = -1;
	run_directory_sweep(directory->main);
	fold_main(directory->main);
}

void run_directory_discard(struct run_directory *directory)
{
	struct clearing clearing = {.from = directory->fd, .to = -1};

	if (directory->fd < 0)
		return;
	/* readdir() may pass over names while others are removed: look again. */
	for (int tries = 0; tries < DISCARD_TRIES; tries++) {
		clear(&clearing);
		if (rmdir(directory->path) == 0 || errno != ENOTEMPTY)
			break;
	}
	close(directory->fd);
	directory->fd = -1;
}

static int sweep_one(int fd, const char *name, void *data)
{
	const char *main_path = data;
	char path[PATH_MAX];
	int locked;

	/* What lies below and is no run's belongs to a unit. */
	if (strncmp(name, TWS_RUN_PREFIX, strlen(TWS_RUN_PREFIX)) != 0 || is_kept(fd) ||
	    snprintf(path, sizeof(path), "%s/%s", main_path, name) >= (int)sizeof(path))
		return 0;
	locked = lock(path);
	if (locked < 0)
		return 0;
	if (!is_used(path))
		move_up(main_path, path, locked);
	close(locked);
	return 0;
}

void run_directory_sweep(const char *main_path)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s", main_path);
	tws_rundir_each(path, sweep_one, path);
}
