/* SPDX-License-Identifier: MIT */
#include "tools/policy/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/policy/host_ports.h"
#include "tools/base/print.h"
#include "tools/segments/rundir.h"

#define LOCK_NAME     "policy.lock"
#define TEMPORARY     "policy" TWS_TEMPORARY_SUFFIX
#define LOCK_TRIES    500
#define LOCK_PAUSE_NS 10000000
#define CONTROL_SIZE  4096
#define IMAGE_NAME    40
/* A process may be this many generations behind while it opens an image. */
#define IMAGES_KEPT 8

/* Ours or root's, and nobody else may change what lies in it. */
static bool is_ours(int fd, bool is_directory)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || (st.st_uid != geteuid() && st.st_uid != 0))
		return false;
	if (!is_directory)
		return S_ISREG(st.st_mode) && !(st.st_mode & (S_IWGRP | S_IWOTH));
	return !(st.st_mode & (S_IWGRP | S_IWOTH)) || st.st_mode & S_ISVTX;
}

/* Opens a file of the directory, made if there is none. Not by O_CREAT alone: with
 * fs.protected_regular that fails on a file that is there. */
static int open_or_make(int directory, const char *name)
{
	int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(directory, name, flags);

	if (fd < 0 && errno == ENOENT)
		fd = openat(directory, name, flags | O_CREAT, 0600);
	if (fd < 0)
		return errno == ELOOP ? -EPERM : -errno;
	if (is_ours(fd, false))
		return fd;
	close(fd);
	return -EPERM;
}

/* A descriptor that holds the lock until it is closed, or -errno. */
static int take_lock(int directory)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
	int fd = open_or_make(directory, LOCK_NAME);
	int error;

	if (fd < 0)
		return fd;
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		if (errno != EWOULDBLOCK && errno != EINTR)
			break;
		nanosleep(&pause, NULL);
	}
	error = errno == EWOULDBLOCK ? EBUSY : errno;
	close(fd);
	return -error;
}

/* ------------------------------------------------------------------ policy.ctl */

/* A new one appears whole: linked in, so that one made meanwhile by a process stays. */
static int make_control(int directory)
{
	int fd, result;

	unlinkat(directory, TEMPORARY, 0);
	fd = openat(directory, TEMPORARY, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	result = -posix_fallocate(fd, 0, CONTROL_SIZE);
	close(fd);
	if (result == 0 &&
	    linkat(directory, TEMPORARY, directory, TWS_POLICY_CONTROL, 0) != 0 &&
	    errno != EEXIST)
		result = -errno;
	unlinkat(directory, TEMPORARY, 0);
	return result;
}

/* Opens policy.ctl for writing. A descriptor, or -errno. */
static int open_control(int directory)
{
	int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(directory, TWS_POLICY_CONTROL, flags), result;

	if (fd < 0 && errno == ENOENT) {
		result = make_control(directory);
		if (result != 0)
			return result;
		fd = openat(directory, TWS_POLICY_CONTROL, flags);
	}
	if (fd < 0)
		return errno == ELOOP ? -EPERM : -errno;
	/* A process that makes one may not have come to this yet. */
	result = is_ours(fd, false) ? -posix_fallocate(fd, 0, CONTROL_SIZE) : -EPERM;
	if (result == 0)
		return fd;
	close(fd);
	return result;
}

static int map_control(int directory, struct tws_policy_control **ret_control)
{
	int fd = open_control(directory);
	void *memory;

	if (fd < 0)
		return fd;
	memory = mmap(NULL, CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (memory == MAP_FAILED)
		return -errno;
	*ret_control = memory;
	return 0;
}

/* --------------------------------------------------------------------- images */

static void image_name(char name[IMAGE_NAME], uint64_t generation)
{
	snprintf(name, IMAGE_NAME, TWS_POLICY_IMAGE_NAME, (unsigned long long)generation);
}

/* The generation that a file's name stands for; 0: it is no image. */
static uint64_t generation_of(const char *name)
{
	unsigned long long generation = 0;
	char again[IMAGE_NAME];

	if (sscanf(name, TWS_POLICY_IMAGE_NAME, &generation) != 1)
		return 0;
	image_name(again, generation);
	return strcmp(again, name) == 0 ? generation : 0;
}

/* Looks at all images: removes those up to `remove_to`, returns the highest of the others
 * (0: there is none, or the directory can't be read). */
static uint64_t sweep(int directory, uint64_t remove_to)
{
	int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint64_t highest = 0, generation;
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while ((entry = readdir(dir)) != NULL) {
		generation = generation_of(entry->d_name);
		if (generation > remove_to && generation > highest)
			highest = generation;
		else if (generation > 0 && generation <= remove_to)
			unlinkat(directory, entry->d_name, 0);
	}
	closedir(dir);
	return highest;
}

static int write_all(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t done = write(fd, bytes, size);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			bytes += done;
			size -= (size_t)done;
		}
	}
	return 0;
}

static int write_image(int directory, const struct tws_policy_image *image)
{
	char name[IMAGE_NAME];
	int fd, result;

	unlinkat(directory, TEMPORARY, 0);
	fd = openat(directory, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	result = write_all(fd, (const char *)image, image->size);
	close(fd);
	image_name(name, image->generation);
	if (result == 0 && renameat(directory, TEMPORARY, directory, name) != 0)
		result = -errno;
	if (result != 0)
		unlinkat(directory, TEMPORARY, 0);
	return result;
}

static int store_locked(int directory, struct tws_policy_control *control,
			struct tws_policy_image *image)
{
	uint64_t now = __atomic_load_n(&control->generation, __ATOMIC_ACQUIRE);
	uint64_t highest = sweep(directory, 0);
	int result;

	image->generation = (now > highest ? now : highest) + 1;
	image->checksum = tws_policy_checksum(image);
	result = write_image(directory, image);
	if (result != 0)
		return result;
	__atomic_store_n(&control->magic, TWS_POLICY_MAGIC, __ATOMIC_RELAXED);
	__atomic_store_n(&control->generation, image->generation, __ATOMIC_RELEASE);
	if (image->generation > IMAGES_KEPT)
		sweep(directory, image->generation - IMAGES_KEPT);
	return 0;
}

/* A group that may read the files must come to them. Never narrows what is open. */
static int open_to_group(int directory, uint32_t group)
{
	if (!group)
		return 0;
	return fchown(directory, (uid_t)-1, group) == 0 && fchmod(directory, 0750) == 0
		   ? 0
		   : -errno;
}

int tws_policy_store(int directory, struct tws_policy_image *image)
{
	struct tws_policy_control *control = NULL;
	int lock, result;

	if (!is_ours(directory, true))
		return -EPERM;
	lock = take_lock(directory);
	if (lock < 0)
		return lock;
	result = map_control(directory, &control);
	if (result == 0) {
		result = open_to_group(directory, image->settings.group);
		if (result == 0)
			result = store_locked(directory, control, image);
		munmap(control, CONTROL_SIZE);
	}
	close(lock);
	return result;
}

/* -------------------------------------------------------------------- reading */

/* The generation in force, 0: none. */
static int read_generation(int directory, uint64_t *ret_generation)
{
	struct tws_policy_control control = {0};
	int fd = openat(directory, TWS_POLICY_CONTROL,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t length;

	*ret_generation = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	length = pread(fd, &control, sizeof(control), 0);
	close(fd);
	if (length < 0)
		return -errno;
	if (control.magic != 0 && control.magic != TWS_POLICY_MAGIC)
		return -EBADMSG;
	*ret_generation = control.generation;
	return 0;
}

static int read_image(int fd, struct tws_policy_image **ret_image)
{
	char *bytes = malloc(TWS_POLICY_MAX_SIZE + 1);
	ssize_t length = bytes ? pread(fd, bytes, TWS_POLICY_MAX_SIZE + 1, 0) : -1;
	int result = -errno;

	if (length >= 0)
		result = tws_policy_validate(bytes, (uint64_t)length) ? -EBADMSG : 0;
	if (result == 0)
		*ret_image = (struct tws_policy_image *)bytes;
	else
		free(bytes);
	return result;
}

int tws_policy_fetch(int directory, struct tws_policy_image **ret_image)
{
	char name[IMAGE_NAME];
	uint64_t generation;
	int result, fd = -ENOENT;

	/* An image may be swept away between the two looks: look again. */
	for (int i = 0; i < 3 && fd == -ENOENT; i++) {
		result = read_generation(directory, &generation);
		if (result != 0)
			return result;
		if (generation == 0) {
			*ret_image = NULL;
			return 0;
		}
		image_name(name, generation);
		fd = openat(directory, name,
			    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	if (fd < 0)
		return fd;
	result = read_image(fd, ret_image);
	close(fd);
	return result;
}

int policy_take_rule(const struct cli_option *option, void *field)
{
	struct policy_given *given = field;

	if (given->source.rule_count == TWS_RULES)
		return cli_fail(CLI_USAGE,
				"--%s %s: there are %d rules already: leave some out",
				option->name, optarg, TWS_RULES);
	given->source.rules = given->rules;
	given->rules[given->source.rule_count++] = optarg;
	return 0;
}

bool policy_is_given(const struct policy_given *given)
{
	return given->source.file || given->source.rule_count || given->source.experiment;
}

int tws_policy_install(const struct tws_source *source, const char *path,
		       struct tws_complaints *complaints)
{
	struct tws_policy_image *image = tws_compile(source, complaints);
	int directory, result;

	if (!image)
		return complaints->errors ? -EINVAL : -ENOMEM;
	tws_policy_warn_of_host(image, source, complaints);
	result = tws_rundir_create(path);
	if (result == 0) {
		directory = tws_rundir_open(path);
		result = directory < 0 ? directory : tws_policy_store(directory, image);
		if (directory >= 0)
			close(directory);
	}
	free(image);
	return result;
}

static void print_complaint(FILE *out, const struct tws_complaint *complaint)
{
	char file[1024], what[1024], cure[1024], line[16] = "";

	if (complaint->line)
		snprintf(line, sizeof(line), ":%u", complaint->line);
	fprintf(out, "%s%s: %s%s: %s\n",
		print_escape(file, sizeof(file), complaint->file), line,
		complaint->warning ? "warning: " : "",
		print_escape(what, sizeof(what), complaint->problem.what),
		print_escape(cure, sizeof(cure), complaint->problem.cure));
}

void tws_policy_print_complaints(FILE *out, const struct tws_complaints *complaints)
{
	for (size_t i = 0; i < complaints->count; i++)
		print_complaint(out, &complaints->list[i]);
}

int tws_policy_fail_store(int status, const char *path, int error, const char *by)
{
	if (error == -EPERM)
		return cli_fail(status,
				"%s: it is not yours alone: name a directory that only "
				"you (or root) may write, with %s",
				path, by);
	if (error == -EBUSY)
		return cli_fail(status,
				"%s: another load holds policy.lock: try again, or end "
				"that process",
				path);
	if (error == -ENOTDIR)
		return cli_fail(status, "%s: it is no directory: name one with %s", path,
				by);
	if (error == -EXDEV)
		return cli_fail(status,
				"%s: not in memory, and programs follow no policy there: "
				"name a directory on a tmpfs with %s",
				path, by);
	if (error == -ENOSPC)
		return cli_fail(status,
				"%s: no room is left on this tmpfs, and the policy was "
				"not loaded: make room there, or name another with %s",
				path, by);
	return cli_fail(status,
			"%s: %s, and the policy was not loaded: name another directory "
			"with %s",
			path, strerror(-error), by);
}
