/* SPDX-License-Identifier: MIT */
#include "tools/segments/trouble.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shim/shared/rundir.h"
#include "tools/base/array.h"
#include "tools/segments/beneath.h"
#include "tools/segments/rundir.h"

#define SHARED_MEMORY_DIRECTORY "/dev/shm"
#define LEVELS			2 /* below the mount: a place, and the files in it */

struct troubles {
	struct place_trouble *list;
	size_t room;
	size_t count;
};

/* Where the next one goes. The last place is written over if there are too many. */
static struct place_trouble *next_trouble(struct troubles *troubles, const char *place)
{
	size_t at = troubles->count++;
	struct place_trouble *trouble =
	    &troubles->list[at < troubles->room ? at : troubles->room - 1];

	snprintf(trouble->place, sizeof(trouble->place), "%s", place);
	return trouble;
}

/* ------------------------------------------------------------------- who has filled it
 */

struct holder {
	uid_t user;
	uint64_t bytes;
	uint64_t files;
};

struct holders {
	struct holder *list;
	size_t count;
};

static struct holder *find_holder(struct holders *holders, uid_t user)
{
	struct holder *grown;

	for (size_t i = 0; i < holders->count; i++)
		if (holders->list[i].user == user)
			return &holders->list[i];
	grown = array_grow(holders->list, holders->count, sizeof(*grown));
	if (!grown)
		return NULL;
	holders->list = grown;
	grown[holders->count] = (struct holder){.user = user};
	return &grown[holders->count++];
}

static void add_entry(struct holders *holders, const struct stat *st)
{
	struct holder *holder = find_holder(holders, st->st_uid);

	if (!holder)
		return;
	holder->files++;
	holder->bytes += (uint64_t)st->st_blocks * 512;
}

/* Takes over the descriptor. */
static void add_directory(struct holders *holders, int fd, int levels)
{
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct stat st;
	int found;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		found = open_beneath(dirfd(dir), entry->d_name, O_PATH);
		if (found < 0 || fstat(found, &st) != 0)
			st = (struct stat){0};
		else
			add_entry(holders, &st);
		if (found >= 0)
			close(found);
		if (S_ISDIR(st.st_mode) && levels > 1)
			add_directory(
			    holders, open_beneath(dirfd(dir), entry->d_name, O_DIRECTORY),
			    levels - 1);
	}
	if (dir)
		closedir(dir);
}

static unsigned percent(uint64_t part, uint64_t whole)
{
	return whole ? (unsigned)(part * 100 / whole) : 0;
}

/* `by_files`: it is the files that have run out, and not the bytes. */
static void say_who(const char *path, const struct statfs *fs, bool by_files,
		    char *ret_text, size_t size)
{
	uint64_t whole = by_files ? fs->f_files : fs->f_blocks * (uint64_t)fs->f_bsize;
	struct holder most = {0};
	struct holders holders = {0};

	add_directory(&holders, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), LEVELS);
	for (size_t i = 0; i < holders.count; i++)
		if (by_files ? holders.list[i].files > most.files
			     : holders.list[i].bytes > most.bytes)
			most = holders.list[i];
	free(holders.list);
	if (percent(by_files ? most.files : most.bytes, whole) >= 50)
		snprintf(ret_text, size, "user %u holds %u %% of its %s",
			 (unsigned)most.user,
			 percent(by_files ? most.files : most.bytes, whole),
			 by_files ? "files" : "bytes");
	else
		snprintf(ret_text, size,
			 "no user's visible files are half of it: deleted files that a "
			 "process holds open may be");
}

static void look_for_room(struct troubles *troubles, const char *path, const char *then)
{
	struct place_trouble *trouble;
	char who[160];
	struct statfs fs;

	if (tws_rundir_check(path) != -ENOSPC || statfs(path, &fs) != 0)
		return;
	say_who(path, &fs, fs.f_files && !fs.f_ffree, who, sizeof(who));
	trouble = next_trouble(troubles, path);
	snprintf(trouble->what, sizeof(trouble->what), "full: %s. %s", who, then);
	snprintf(trouble->cure, sizeof(trouble->cure), "remove files there");
}

/* -------------------------------------------------------------------- who has taken it
 */

static bool has_system_place(uid_t user)
{
	int fd = tws_place_open(TWS_PLACE_SYSTEM, "", user, false);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Whether programs of the user can use this place of theirs in shared memory. */
static bool is_users_own(int above, const char *name, uid_t user)
{
	int fd = open_beneath(above, name, O_DIRECTORY);
	struct stat st;
	bool ret = fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == user;

	if (fd >= 0)
		close(fd);
	return ret;
}

static void look_at_name(struct troubles *troubles, int above, const char *name)
{
	const char *number =
	    name + strlen(TWS_SHARED_MEMORY) - strlen(SHARED_MEMORY_DIRECTORY "/");
	struct place_trouble *trouble;
	unsigned long user;
	char *end, path[64];

	user = strtoul(number, &end, 10);
	if (end == number || *end || user >= UINT32_MAX || strlen(name) > 32 ||
	    is_users_own(above, name, (uid_t)user) || has_system_place((uid_t)user))
		return;
	snprintf(path, sizeof(path), SHARED_MEMORY_DIRECTORY "/%.32s", name);
	trouble = next_trouble(troubles, path);
	snprintf(trouble->what, sizeof(trouble->what),
		 "another user has taken this name, so programs of user %lu cannot "
		 "publish",
		 user);
	snprintf(trouble->cure, sizeof(trouble->cure),
		 "twshim prepare %lu makes a place that nobody can take", user);
}

static void look_for_squatters(struct troubles *troubles)
{
	static const char before[] = TWS_SHARED_MEMORY;
	const char *prefix = before + strlen(SHARED_MEMORY_DIRECTORY "/");
	DIR *dir = opendir(SHARED_MEMORY_DIRECTORY);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			look_at_name(troubles, dirfd(dir), entry->d_name);
	if (dir)
		closedir(dir);
}

size_t place_troubles(struct place_trouble *ret_troubles, size_t room)
{
	struct troubles troubles = {.list = ret_troubles, .room = room};
	const char *given = getenv("TWSHIM_DIR");

	if (geteuid() != 0 || (given && *given))
		return 0;
	look_for_room(&troubles, TWS_SYSTEM_DIRECTORY,
		      "Programs that start now publish in " SHARED_MEMORY_DIRECTORY);
	look_for_room(&troubles, SHARED_MEMORY_DIRECTORY,
		      "Programs without another place are not counted");
	look_for_squatters(&troubles);
	return troubles.count;
}

/* -------------------------------------------------------------- what goes at logout */

#define FIRST_LOGIN_USER 1000 /* logind leaves system users alone */
#define FIRST_DYNAMIC	 61184
#define LAST_DYNAMIC	 65534

/* What the last file that sets it says. */
static void read_setting(const char *path, bool *removes)
{
	FILE *file = fopen(path, "re");
	char line[256], value[16];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " RemoveIPC = %15s", value) == 1)
			*removes = strcasecmp(value, "no") != 0 &&
				   strcasecmp(value, "false") != 0 &&
				   strcasecmp(value, "off") != 0 &&
				   strcmp(value, "0") != 0;
	if (file)
		fclose(file);
}

static bool logind_removes(void)
{
	static const char *const patterns[] = {
	    "/etc/systemd/logind.conf", "/usr/lib/systemd/logind.conf.d/*.conf",
	    "/run/systemd/logind.conf.d/*.conf", "/etc/systemd/logind.conf.d/*.conf"};
	bool removes = access("/run/systemd/users", F_OK) == 0; /* logind runs */
	glob_t found;

	for (size_t i = 0; removes && i < sizeof(patterns) / sizeof(*patterns); i++) {
		if (glob(patterns[i], 0, NULL, &found) != 0)
			continue;
		for (size_t j = 0; j < found.gl_pathc; j++)
			read_setting(found.gl_pathv[j], &removes);
		globfree(&found);
	}
	return removes;
}

static int is_fleeting(const char *path, void *data)
{
	uint32_t *user = data;
	const size_t length = strlen(TWS_SHARED_MEMORY);
	unsigned long number;

	if (strncmp(path, TWS_SHARED_MEMORY, length) != 0)
		return 0;
	number = strtoul(path + length, NULL, 10);
	if (number < FIRST_LOGIN_USER ||
	    (number >= FIRST_DYNAMIC && number <= LAST_DYNAMIC) ||
	    has_system_place((uid_t)number))
		return 0;
	*user = (uint32_t)number;
	return 1;
}

bool place_is_fleeting(uint32_t *ret_user)
{
	char main[128];

	if (!logind_removes())
		return false;
	if (tws_rundir_find(main, sizeof(main)) == 0 && access(main, F_OK) == 0 &&
	    is_fleeting(main, ret_user))
		return true;
	return tws_rundir_others(is_fleeting, ret_user) == 1;
}
