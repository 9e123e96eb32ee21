/* SPDX-License-Identifier: MIT
 *
 * Finds segments: in the main directory, in the "run-*" directories below it, and in
 * those of other users. Each directory is watched before it is listed, so that no file is
 * missed. A file that is seen twice, or was moved up from a run's directory, is
 * recognised by its inode.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/base/array.h"
#include "tools/trace/follow_parts.h"
#include "tools/segments/beneath.h"
#include "tools/segments/rundir.h"

#define EVENTS (IN_MOVED_TO | IN_DELETE | IN_CREATE | IN_ONLYDIR)

static bool is_segment(const char *name)
{
	size_t length = strlen(name), end = strlen(TWS_SEGMENT_SUFFIX);

	return length > end && length < FOLLOW_NAME_SIZE &&
	       strcmp(name + length - end, TWS_SEGMENT_SUFFIX) == 0;
}

static struct follow_directory *find_watch(struct follow *follow, int watch)
{
	for (size_t i = 0; i < follow->directory_count; i++)
		if (follow->directories[i].watch == watch)
			return &follow->directories[i];
	return NULL;
}

static void watch_directory(struct follow *follow, int fd, bool main);

static void list_segments(struct follow *follow, struct follow_directory directory)
{
	int copy = openat(directory.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), below;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (is_segment(entry->d_name))
			follow_add(follow, &directory, entry->d_name);
		if (!directory.main || !tws_rundir_is_below(entry->d_name))
			continue;
		below = open_beneath(directory.fd, entry->d_name, O_DIRECTORY);
		if (below >= 0)
			watch_directory(follow, below, false);
	}
	closedir(dir);
}

/* Takes over the descriptor. The watch is added through /proc, so that exactly the open
 * directory is watched. */
static void watch_directory(struct follow *follow, int fd, bool main)
{
	struct follow_directory *grown;
	char path[64];
	int watch;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	watch = inotify_add_watch(follow->inotify, path, EVENTS);
	if (watch < 0 || find_watch(follow, watch)) {
		close(fd);
		return;
	}
	grown = array_grow(follow->directories, follow->directory_count, sizeof(*grown));
	if (!grown) {
		follow->failed = true;
		close(fd);
		return;
	}
	follow->directories = grown;
	follow->directories[follow->directory_count++] =
	    (struct follow_directory){watch, fd, main, false};
	list_segments(follow, follow->directories[follow->directory_count - 1]);
}

static int watch_path(const char *path, void *data)
{
	int fd = tws_rundir_open(path);

	if (fd >= 0)
		watch_directory(data, fd, true);
	return 0;
}

static void drop_directory(struct follow *follow, struct follow_directory *directory)
{
	inotify_rm_watch(follow->inotify, directory->watch);
	follow_forget(follow, directory->watch, NULL);
	close(directory->fd);
	*directory = follow->directories[--follow->directory_count];
}

/* Our descriptor keeps a removed directory alive, so inotify never reports that it is
 * gone. It is dropped one scan after the removal was seen, when all its announcements
 * have been read. */
static void drop_removed(struct follow *follow)
{
	struct follow_directory *directory;
	struct stat st;
	bool gone;

	for (size_t i = follow->directory_count; i-- > 0;) {
		directory = &follow->directories[i];
		gone = directory->gone;
		directory->gone = fstat(directory->fd, &st) == 0 && !st.st_nlink;
		if (gone)
			drop_directory(follow, directory);
	}
}

void follow_scan(struct follow *follow)
{
	char path[PATH_MAX];

	drop_removed(follow);
	if (follow->dir)
		watch_path(follow->dir, follow);
	else if (tws_rundir_find(path, sizeof(path)) == 0)
		watch_path(path, follow);
	if (!follow->dir)
		tws_rundir_others(watch_path, follow);
}

/* The kernel dropped announcements, so list everything again. */
static void list_all(struct follow *follow)
{
	for (size_t i = 0; i < follow->directory_count; i++)
		list_segments(follow, follow->directories[i]);
}

static void take_named(struct follow *follow, const struct follow_directory *directory,
		       const struct inotify_event *event)
{
	int below;

	if (event->mask & IN_ISDIR) {
		if (!directory->main || !tws_rundir_is_below(event->name) ||
		    !(event->mask & (IN_CREATE | IN_MOVED_TO)))
			return;
		below = open_beneath(directory->fd, event->name, O_DIRECTORY);
		if (below >= 0)
			watch_directory(follow, below, false);
	} else if (!is_segment(event->name)) {
		return;
	} else if (event->mask & IN_DELETE) {
		follow_forget(follow, event->wd, event->name);
	} else if (event->mask & (IN_MOVED_TO | IN_CREATE)) {
		follow_add(follow, directory, event->name);
	}
}

static void take_announcement(struct follow *follow, const struct inotify_event *event)
{
	struct follow_directory *directory = find_watch(follow, event->wd);

	if (event->mask & IN_Q_OVERFLOW)
		list_all(follow);
	else if (directory && event->mask & IN_IGNORED)
		drop_directory(follow, directory);
	else if (directory && event->len)
		take_named(follow, directory, event);
}

void follow_take_news(struct follow *follow)
{
	char buffer[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	const struct inotify_event *event;
	ssize_t length;

	while ((length = read(follow->inotify, buffer, sizeof(buffer))) > 0)
		for (ssize_t at = 0; at < length;
		     at += (ssize_t)(sizeof(*event) + event->len)) {
			event = (const struct inotify_event *)(buffer + at);
			take_announcement(follow, event);
		}
}
