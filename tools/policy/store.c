/* SPDX-License-Identifier: MIT */
#include "tools/policy/store.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/policy/host_ports.h"
#include "tools/base/print.h"
#include "tools/segments/prepare.h"
#include "tools/segments/rundir.h"

#define LOCK_NAME     "policy.lock"
#define LOCK_TRIES    500
#define LOCK_PAUSE_NS 10000000

/* Ours or root's, and nobody else may change what lies in it. */
static bool is_ours(int fd, bool is_directory)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || (st.st_uid != geteuid() && st.st_uid != 0))
		return false;
	return (is_directory || S_ISREG(st.st_mode)) &&
	       !(st.st_mode & (S_IWGRP | S_IWOTH));
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

/* Opens policy.ctl for writing, and makes it if there is none. A descriptor, or -errno.
 */
static int open_control(int directory, mode_t mode)
{
	int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(directory, TWS_POLICY_CONTROL, flags), result;

	if (fd < 0 && errno == ENOENT) {
		result = prepare_control(directory, mode);
		if (result != 0)
			return result;
		fd = openat(directory, TWS_POLICY_CONTROL, flags);
	}
	if (fd < 0)
		return errno == ELOOP ? -EPERM : -errno;
	/* A process that makes one may not have come to this yet. */
	result = is_ours(fd, false) ? prepare_control_size(fd) : -EPERM;
	if (result == 0)
		return fd;
	close(fd);
	return result;
}

/* --------------------------------------------------------------------- writing */

static int write_all(int fd, const void *bytes, size_t size, off_t offset)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t done = pwrite(fd, at, size, offset);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			at += done;
			offset += done;
			size -= (size_t)done;
		}
	}
	return 0;
}

static int read_control(int fd, struct tws_policy_control *ret_control)
{
	ssize_t length = pread(fd, ret_control, sizeof(*ret_control), 0);

	if (length < 0)
		return -errno;
	if (length < (ssize_t)sizeof(*ret_control))
		*ret_control = (struct tws_policy_control){0};
	return ret_control->magic && ret_control->magic != TWS_POLICY_CONTROL_MAGIC
		   ? -EBADMSG
		   : 0;
}

/* The state last: with it the generation is in force. It is one aligned word, which
 * processes see whole. */
static int write_state(int fd, uint64_t state)
{
	struct tws_policy_control control = {.magic = TWS_POLICY_CONTROL_MAGIC};
	struct timespec now;
	int result;

	clock_gettime(CLOCK_REALTIME, &now);
	control.since_realtime_ns =
	    (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	result =
	    write_all(fd, &control.since_realtime_ns, sizeof(control.since_realtime_ns),
		      offsetof(struct tws_policy_control, since_realtime_ns));
	result =
	    result ? result : write_all(fd, &control.magic, sizeof(control.magic), 0);
	return result ? result
		      : write_all(fd, &state, sizeof(state),
				  offsetof(struct tws_policy_control, state));
}

/* `image` NULL: none is in force. */
static int store_locked(int fd, struct tws_policy_image *image)
{
	struct tws_policy_control control;
	uint64_t generation;
	int result = read_control(fd, &control);

	if (result != 0 && result != -EBADMSG)
		return result;
	generation = (result ? 0 : control.state >> 1) + 1;
	if (!image)
		return write_state(fd, generation << 1);
	image->generation = generation;
	image->checksum = tws_policy_checksum(image);
	result = write_all(fd, image, image->size, (off_t)tws_policy_slot(generation));
	return result ? result : write_state(fd, generation << 1 | 1);
}

int tws_policy_store(int directory, struct tws_policy_image *image, mode_t mode)
{
	int lock, fd, result;

	if (!is_ours(directory, true))
		return -EPERM;
	lock = take_lock(directory);
	if (lock < 0)
		return lock;
	fd = open_control(directory, mode);
	result = fd < 0 ? fd : store_locked(fd, image);
	if (fd >= 0)
		close(fd);
	close(lock);
	return result;
}

/* A group that may read the files must come to them. Never narrows what is open. */
int tws_policy_open_to_group(int directory, uint32_t group)
{
	if (!group)
		return 0;
	return fchown(directory, (uid_t)-1, group) == 0 && fchmod(directory, 0750) == 0
		   ? 0
		   : -errno;
}

/* -------------------------------------------------------------------- reading */

static int read_image(int fd, uint64_t generation, struct tws_policy_image **ret_image)
{
	char *bytes = malloc(TWS_POLICY_MAX_SIZE);
	struct tws_policy_image *image = (struct tws_policy_image *)bytes;
	ssize_t length = bytes ? pread(fd, bytes, TWS_POLICY_MAX_SIZE,
				       (off_t)tws_policy_slot(generation))
			       : -1;
	int result = -errno;

	if (length >= 0)
		result = length < (ssize_t)sizeof(*image) || image->size > length ||
				 tws_policy_validate(bytes, image->size) ||
				 image->generation != generation
			     ? -EBADMSG
			     : 0;
	if (result == 0)
		*ret_image = image;
	else
		free(bytes);
	return result;
}

static int fetch(int fd, struct tws_policy_image **ret_image,
		 struct tws_policy_control *ret_control)
{
	int result = read_control(fd, ret_control);

	*ret_image = NULL;
	if (result != 0 || !(ret_control->state & 1))
		return result;
	return read_image(fd, ret_control->state >> 1, ret_image);
}

int tws_policy_fetch(int directory, struct tws_policy_image **ret_image,
		     struct tws_policy_control *ret_control)
{
	int fd = openat(directory, TWS_POLICY_CONTROL,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int result = -EBADMSG;

	*ret_image = NULL;
	*ret_control = (struct tws_policy_control){0};
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	/* A slot may be written over while it is read: look again. */
	for (int i = 0; i < 3 && result == -EBADMSG; i++)
		result = fetch(fd, ret_image, ret_control);
	close(fd);
	return result;
}

int tws_policy_store_at(const char *path, struct tws_policy_image *image, mode_t mode)
{
	int directory, result = tws_rundir_create(path);

	if (result != 0)
		return result;
	directory = tws_rundir_open(path);
	result = directory < 0 ? directory : tws_policy_store(directory, image, mode);
	if (directory >= 0)
		close(directory);
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

int tws_policy_install(const struct tws_source *source, const char *path, mode_t mode,
		       struct tws_complaints *complaints)
{
	struct tws_policy_image *image = tws_compile(source, complaints);
	int result;

	if (!image)
		return complaints->errors ? -EINVAL : -ENOMEM;
	tws_policy_warn_of_host(image, source, complaints);
	result = tws_policy_store_at(path, image, mode);
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
