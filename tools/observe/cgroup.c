/* SPDX-License-Identifier: MIT */
#include "tools/observe/cgroup.h"

#include <errno.h>
#include <fts.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/kernel/proc_file.h"

int cgroup_root(char *ret_path, size_t size)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const struct mntent *entry;
	int result = -ENOENT;

	while (mounts && result != 0 && (entry = getmntent(mounts)))
		if (strcmp(entry->mnt_type, "cgroup2") == 0) {
			snprintf(ret_path, size, "%s", entry->mnt_dir);
			result = 0;
		}
	if (mounts)
		endmntent(mounts);
	return result;
}

/* The id of a control group is its inode. */
int cgroup_identify(const char *path, uint64_t *ret_id, uint32_t *ret_level)
{
	char root[4096];
	size_t length;
	struct stat st;
	int result = cgroup_root(root, sizeof(root));

	if (result != 0)
		return result;
	length = strlen(root);
	if (strncmp(path, root, length) != 0 || (path[length] && path[length] != '/'))
		return -EINVAL;
	if (stat(path, &st) != 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	*ret_id = st.st_ino;
	*ret_level = 0;
	for (const char *at = path + length; *at; at++)
		*ret_level += at[0] == '/' && at[1] && at[1] != '/';
	return 0;
}

/* Searches the hierarchy for a group that `fits`. */
static int search(char *ret_path, size_t size,
		  int (*fits)(const FTSENT *entry, const void *data), const void *data)
{
	char root[4096];
	char *const roots[] = {root, NULL};
	FTSENT *entry;
	FTS *tree;
	int result = cgroup_root(root, sizeof(root));

	if (result != 0)
		return result;
	tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (!tree)
		return -errno;
	result = -ENOENT;
	while (result != 0 && (entry = fts_read(tree)))
		if (entry->fts_info == FTS_D && fits(entry, data)) {
			snprintf(ret_path, size, "%s", entry->fts_path);
			result = 0;
		}
	fts_close(tree);
	return result;
}

static int has_name(const FTSENT *entry, const void *data)
{
	return strcmp(entry->fts_name, data) == 0;
}

int cgroup_of_unit(const char *unit, char *ret_path, size_t size)
{
	char name[256];

	snprintf(name, sizeof(name), "%s%s", unit, strchr(unit, '.') ? "" : ".service");
	return search(ret_path, size, has_name, name);
}

/* The line of the unified hierarchy is "0::/path". */
bool cgroup_has(const char *path, pid_t pid)
{
	char text[8192], root[4096];
	size_t length;
	const char *line;

	if (cgroup_root(root, sizeof(root)) != 0 ||
	    proc_read_of(pid, "cgroup", text, sizeof(text)) != 0)
		return false;
	path += strlen(root);
	length = strlen(path);
	line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
	line = line ? strchr(line, '/') : NULL;
	return line && strncmp(line, path, length) == 0 &&
	       (length < 2 || strchr("/\n", line[length]));
}

static int has_id(const FTSENT *entry, const void *data)
{
	return entry->fts_statp->st_ino == *(const uint64_t *)data;
}

int cgroup_of_id(uint64_t id, char *ret_path, size_t size)
{
	char root[4096];
	size_t length;
	int result = search(ret_path, size, has_id, &id);

	if (result != 0 || cgroup_root(root, sizeof(root)) != 0)
		return result;
	length = strlen(root);
	memmove(ret_path, ret_path + length, strlen(ret_path + length) + 1);
	return 0;
}
