/* SPDX-License-Identifier: MIT
 *
 * Directories of segments. Other processes fold segments of dead processes into totals
 * while we read, and each connection must be counted once. So totals are read first, with
 * the names of the segments in them, and then the segments that are not among these
 * names. If totals have changed meanwhile, `changed` is set and the caller reads again.
 */
#include "tools/segments/reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/shared/fold.h"
#include "tools/base/array.h"
#include "tools/segments/rundir.h"

#define NAMES_MAX 262144 /* in one directory; only an attacker makes so many */

static const char lost_totals[] = "totals that were damaged: what they held is lost";

struct names {
	char **list;
	size_t count;
};

struct tree {
	struct reader *reader;
	reader_taker take;
	void *data;
	const char *place; /* "": the main one */
	const char *directory;
	struct names folded; /* of the directory under way, sorted */
};

static int names_add(struct names *names, const char *name)
{
	char **list = array_grow(names->list, names->count, sizeof(*list));

	if (!list)
		return -ENOMEM;
	names->list = list;
	names->list[names->count] = strdup(name);
	return names->list[names->count] ? (names->count++, 0) : -ENOMEM;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_sort(struct names *names)
{
	if (names->count)
		qsort(names->list, names->count, sizeof(*names->list), compare_names);
}

static bool names_has(const struct names *names, const char *name)
{
	return names->count && bsearch(&name, names->list, names->count,
				       sizeof(*names->list), compare_names) != NULL;
}

static void names_free(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->list[i]);
	free(names->list);
	*names = (struct names){0};
}

static void tree_skip(struct tree *tree, const char *name, const char *reason)
{
	struct reader *reader = tree->reader;
	size_t length = strlen(tree->place) + strlen(tree->directory) + strlen(name) + 3;
	struct reader_skipped *skipped;
	char *path;

	/* Nobody can tell whether it belongs to the run. */
	if (reader->run)
		return;
	if (reader->skipped_count >= READER_SKIPPED_MAX) {
		reader->skipped_count++;
		return;
	}
	skipped = array_grow(reader->skipped, reader->skipped_count, sizeof(*skipped));
	if (!skipped)
		return;
	reader->skipped = skipped;
	path = malloc(length);
	if (!path)
		return;
	snprintf(path, length, "%s%s%s%s%s", tree->place, *tree->place ? "/" : "",
		 tree->directory, *tree->directory ? "/" : "", name);
	skipped[reader->skipped_count].name = path;
	skipped[reader->skipped_count++].reason = reason;
}

/* Stands between reader_read_file() and the caller's taker: sets the directory's name,
 * and remembers which segments a totals file contains. */
static int take_file(struct segment *segment, void *data)
{
	struct segment named = *segment;
	struct tree *tree = data;
	char name[sizeof(segment->folded->name) + 1];
	int result = 0;

	if (!reader_wants(tree->reader, &segment->header))
		return 0;
	named.directory = tree->directory;
	if (segment->header.state != TWS_SEGMENT_TOTALS)
		return tree->take(&named, tree->data);
	for (uint32_t i = 0; result == 0 && i < segment->used[TWS_SECTION_FOLDED]; i++) {
		snprintf(name, sizeof(name), "%.*s", (int)sizeof(segment->folded->name),
			 segment->folded[i].name);
		result = names_add(&tree->folded, name);
	}
	return result ? result : tree->take(&named, tree->data);
}

static bool name_has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name), end = strlen(suffix);

	return length > end && strcmp(name + length - end, suffix) == 0;
}

/* Reads each file of the list. A segment that has vanished was folded meanwhile. */
static int read_names(struct tree *tree, int fd, const struct names *names)
{
	struct reader *reader = tree->reader;
	const char *why;
	int result = 0;

	for (size_t i = 0; result == 0 && i < names->count; i++) {
		if (names_has(&tree->folded, names->list[i]))
			continue;
		if (name_has_suffix(names->list[i], TWS_ASIDE_SUFFIX)) {
			tree_skip(tree, names->list[i], lost_totals);
			continue;
		}
		if (!allowance_take(&reader->allowances, reader->directory_user, 0, 0)) {
			tree_skip(tree, names->list[i], reader_too_much);
			continue;
		}
		why = reader_read_file(tree->reader, fd, names->list[i], take_file, tree,
				       &result);
		if (why && !*why)
			tree->reader->changed = true;
		else if (why)
			tree_skip(tree, names->list[i], why);
	}
	return result;
}

static int list_directory(int fd, struct names *ret_totals, struct names *ret_segments)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	int result = 0;

	if (!dir) {
		result = -errno;
		if (copy >= 0)
			close(copy);
		return result;
	}
	while (result == 0 && (entry = readdir(dir)) != NULL &&
	       ret_totals->count + ret_segments->count < NAMES_MAX) {
		if (name_has_suffix(entry->d_name, TWS_TOTALS_SUFFIX))
			result = names_add(ret_totals, entry->d_name);
		else if (name_has_suffix(entry->d_name, TWS_SEGMENT_SUFFIX) ||
			 name_has_suffix(entry->d_name, TWS_ASIDE_SUFFIX))
			result = names_add(ret_segments, entry->d_name);
	}
	closedir(dir);
	names_sort(ret_totals);
	names_sort(ret_segments);
	return result;
}

/* Returns a number that changes when a totals file is replaced. */
static uint64_t totals_state(int fd, const struct names *totals)
{
	uint64_t state = totals->count;
	struct stat st;

	for (size_t i = 0; i < totals->count; i++)
		if (fstatat(fd, totals->list[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			state = state * 31 + st.st_ino + (uint64_t)st.st_mtim.tv_nsec;
	return state;
}

static bool totals_changed(int fd, const struct names *before, uint64_t state)
{
	struct names totals = {0}, segments = {0};
	bool changed = list_directory(fd, &totals, &segments) != 0 ||
		       totals.count != before->count ||
		       totals_state(fd, &totals) != state;

	names_free(&totals);
	names_free(&segments);
	return changed;
}

static int read_directory(int fd, const char *name, void *data)
{
	struct names totals = {0}, segments = {0};
	struct tree *tree = data;
	uint64_t state;
	int result;

	tree->directory = name;
	if (!reader_enter(tree->reader, fd)) {
		tree_skip(tree, "", reader_too_much);
		return 0;
	}
	result = list_directory(fd, &totals, &segments);
	state = totals_state(fd, &totals);
	if (result == 0)
		result = read_names(tree, fd, &totals);
	names_sort(&tree->folded);
	if (result == 0)
		result = read_names(tree, fd, &segments);
	if (result == 0 && totals_changed(fd, &totals, state))
		tree->reader->changed = true;
	names_free(&totals);
	names_free(&segments);
	names_free(&tree->folded);
	return result;
}

/* `place`: how files that are skipped are named. */
static int read_place(struct reader *reader, const char *path, const char *place,
		      bool only, reader_taker take, void *data)
{
	struct tree tree = {.reader = reader, .take = take, .data = data, .place = place};
	int result, fd;

	reader->changed = false;
	if (!only)
		return tws_rundir_each(path, read_directory, &tree);
	fd = tws_rundir_open(path);
	if (fd < 0)
		return fd;
	result = read_directory(fd, "", &tree);
	close(fd);
	return result;
}

int reader_read(struct reader *reader, const char *path, bool only, reader_taker take,
		void *data)
{
	return read_place(reader, path, "", only, take, data);
}

struct everywhere {
	struct reader *reader;
	reader_taker take;
	void *data;
};

static int read_other(const char *path, void *data)
{
	struct everywhere *all = data;
	bool changed = all->reader->changed;
	int result = read_place(all->reader, path, path, false, all->take, all->data);

	all->reader->changed |= changed;
	return result == -ENOENT || result == -EACCES ? 0 : result;
}

int reader_read_everywhere(struct reader *reader, const char *path, reader_taker take,
			   void *data)
{
	struct everywhere all = {.reader = reader, .take = take, .data = data};
	int result = reader_read(reader, path, false, take, data), others = 0;

	if (result == 0 || result == -ENOENT)
		others = (reader->run ? tws_rundir_others_always
				      : tws_rundir_others)(read_other, &all);
	return others ? others : result;
}
