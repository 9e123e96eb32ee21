/* SPDX-License-Identifier: MIT
 *
 * Units on disk; see systemd.unit(5), "Unit File Load Path".
 */
#include "tools/systemd/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/base/print.h"
#include "tools/systemd/dropin.h"

#define LINKS_MAX     8
#define FILE_MAX_SIZE (1 << 20)
#define DROPINS_MAX   256

/* ------------------------------------------------------------------- search path */

static const char *const SYSTEM_PATH[] = {
    "/etc/systemd/system.control", "/run/systemd/system.control",
    "/run/systemd/transient",	   "/run/systemd/generator.early",
    "/etc/systemd/system",	   "/run/systemd/system",
    "/run/systemd/generator",	   "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",	   "/lib/systemd/system",
    "/run/systemd/generator.late",
};

/* A name in capitals is a variable: "$NAME". */
static const char *const USER_PATH[] = {
    "$XDG_CONFIG_HOME/systemd/user",
    "$HOME/.config/systemd/user",
    "/etc/systemd/user",
    "$XDG_RUNTIME_DIR/systemd/user",
    "/run/systemd/user",
    "$HOME/.local/share/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
};

#define SYSTEM_COUNT (sizeof(SYSTEM_PATH) / sizeof(*SYSTEM_PATH))
#define USER_COUNT   (sizeof(USER_PATH) / sizeof(*USER_PATH))

/* False: a variable in it is not set. */
static bool expand_variable(const char *path, char *ret_path, size_t size)
{
	char name[64];
	size_t length = strcspn(path, "/");
	const char *value;

	if (*path != '$')
		return (size_t)snprintf(ret_path, size, "%s", path) < size;
	snprintf(name, sizeof(name), "%.*s", (int)length - 1, path + 1);
	value = getenv(name);
	return value && *value == '/' &&
	       (size_t)snprintf(ret_path, size, "%s%s", value, path + length) < size;
}

bool unit_search_path(const struct unit_place *place, size_t index, char *ret_path,
		      size_t size)
{
	char path[PATH_MAX];

	if (index >= (place->user ? USER_COUNT : SYSTEM_COUNT))
		return false;
	if (!expand_variable(place->user ? USER_PATH[index] : SYSTEM_PATH[index], path,
			     sizeof(path)))
		path[0] = '\0';
	/* A directory that does not exist is passed over. */
	return (size_t)snprintf(ret_path, size, "%s%s", place->root,
				*path ? path : "/nonexistent") < size;
}

/* $XDG_CONFIG_HOME stands for $HOME/.config where it is empty or not absolute, too. */
static bool user_dropin_root(bool runtime, char *ret_path, size_t size)
{
	if (runtime)
		return expand_variable("$XDG_RUNTIME_DIR/systemd/user", ret_path, size);
	return expand_variable(USER_PATH[0], ret_path, size) ||
	       expand_variable(USER_PATH[1], ret_path, size);
}

bool unit_dropin_root(const struct unit_place *place, bool runtime, char *ret_path,
		      size_t size)
{
	char path[PATH_MAX];

	if (!place->user)
		return (size_t)snprintf(ret_path, size, "%s/%s/systemd/system",
					place->root, runtime ? "run" : "etc") < size;
	return user_dropin_root(runtime, path, sizeof(path)) &&
	       (size_t)snprintf(ret_path, size, "%s%s", place->root, path) < size;
}

/* -------------------------------------------------------------------------- names */

bool unit_complete_name(const char *word, char ret_name[UNIT_NAME_SIZE])
{
	static const char *const others[] = {".socket",	   ".target", ".timer", ".mount",
					     ".automount", ".swap",   ".path",	".slice",
					     ".scope",	   ".device"};
	const char *suffix = strrchr(word, '.');
	size_t length = strlen(word);

	if (!length || strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789:-_.\\@") != length)
		return false;
	for (size_t i = 0; suffix && i < sizeof(others) / sizeof(*others); i++)
		if (strcmp(suffix, others[i]) == 0)
			return false;
	suffix = suffix && strcmp(suffix, ".service") == 0 ? "" : ".service";
	if (word[0] == '.' || word[0] == '@')
		return false;
	return snprintf(ret_name, UNIT_NAME_SIZE, "%s%s", word, suffix) < UNIT_NAME_SIZE;
}

bool unit_template_of(const char *name, char ret_template[UNIT_NAME_SIZE])
{
	const char *at = strchr(name, '@');

	if (!at || strcmp(at, "@.service") == 0)
		return false;
	snprintf(ret_template, UNIT_NAME_SIZE, "%.*s@.service", (int)(at - name), name);
	return true;
}

/* -------------------------------------------------------------------------- files */

char *unit_read_text(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *ret = NULL;
	ssize_t length;

	if (fd < 0)
		return NULL;
	errno = EINVAL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < FILE_MAX_SIZE)
		ret = malloc((size_t)st.st_size + 1);
	length = ret ? read(fd, ret, (size_t)st.st_size) : 0;
	if (ret)
		ret[length > 0 ? length : 0] = '\0';
	close(fd);
	return ret;
}

/* Follows the links of the last component, absolute ones below the root. Returns
 * -ELOOP, or 0, also if nothing is there. */
static int follow_links(const char *root, char *path, size_t size)
{
	char target[PATH_MAX], next[2 * PATH_MAX];

	for (int i = 0; i < LINKS_MAX; i++) {
		ssize_t length = readlink(path, target, sizeof(target) - 1);

		if (length < 0)
			return 0;
		target[length] = '\0';
		if (*target == '/')
			snprintf(next, sizeof(next), "%s%s", root, target);
		else
			snprintf(next, sizeof(next), "%.*s%s",
				 (int)(print_base_name(path) - path), path, target);
		if ((size_t)snprintf(path, size, "%s", next) >= size)
			return -ENAMETOOLONG;
	}
	return -ELOOP;
}

static bool is_null_device(const struct unit_place *place, const char *path)
{
	return strcmp(path + strlen(place->root), "/dev/null") == 0;
}

/* The first file of that name in the search path, its links followed. */
static bool find_fragment(const struct unit_place *place, const char *name,
			  char *ret_path, size_t size)
{
	char directory[PATH_MAX];
	struct stat st;

	for (size_t i = 0; unit_search_path(place, i, directory, sizeof(directory)); i++)
		if ((size_t)snprintf(ret_path, size, "%s/%s", directory, name) < size &&
		    lstat(ret_path, &st) == 0 &&
		    follow_links(place->root, ret_path, size) == 0)
			return true;
	return false;
}

/* ----------------------------------------------------------------------- drop-ins */

struct dropins {
	char *paths[DROPINS_MAX];
	size_t count;
};

/* A file of the same name in an earlier directory hides it. */
static bool is_hidden(const struct dropins *dropins, const char *name)
{
	for (size_t i = 0; i < dropins->count; i++)
		if (strcmp(print_base_name(dropins->paths[i]), name) == 0)
			return true;
	return false;
}

static void collect(struct dropins *dropins, const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL) {
		size_t length = strlen(entry->d_name);

		if (length > 5 && strcmp(entry->d_name + length - 5, ".conf") == 0 &&
		    !is_hidden(dropins, entry->d_name) && dropins->count < DROPINS_MAX &&
		    asprintf(&dropins->paths[dropins->count], "%s/%s", directory,
			     entry->d_name) > 0)
			dropins->count++;
	}
	if (dir)
		closedir(dir);
}

static void collect_named(struct dropins *dropins, const struct unit_place *place,
			  const char *name)
{
	char directory[PATH_MAX], path[PATH_MAX + UNIT_NAME_SIZE + 8];

	for (size_t i = 0; unit_search_path(place, i, directory, sizeof(directory));
	     i++) {
		snprintf(path, sizeof(path), "%s/%s.d", directory, name);
		collect(dropins, path);
	}
}

/* foo-bar.service has foo-.service.d as well; the longest first. */
static void collect_prefixes(struct dropins *dropins, const struct unit_place *place,
			     const char *name)
{
	char prefix[UNIT_NAME_SIZE + 16];
	const char *end = name + strcspn(name, "@");

	for (const char *at = end; at > name; at--)
		if (at[-1] == '-' && at != end && strcmp(at, ".service") != 0) {
			snprintf(prefix, sizeof(prefix), "%.*s.service", (int)(at - name),
				 name);
			collect_named(dropins, place, prefix);
		}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(print_base_name(*(char *const *)a),
		      print_base_name(*(char *const *)b));
}

static int read_dropins(struct unit *unit, const struct unit_place *place)
{
	char template[UNIT_NAME_SIZE];
	struct dropins dropins = {0};
	int result = 0;

	collect_named(&dropins, place, unit->name);
	if (unit_template_of(unit->name, template))
		collect_named(&dropins, place, template);
	collect_prefixes(&dropins, place, unit->name);
	collect_named(&dropins, place, "service");
	if (dropins.count)
		qsort(dropins.paths, dropins.count, sizeof(*dropins.paths), by_name);
	for (size_t i = 0; i < dropins.count; i++) {
		char *text = result == 0 ? unit_read_text(dropins.paths[i]) : NULL;

		if (text && !dropin_is_ours(text))
			result = unit_parse(unit, text);
		free(text);
		free(dropins.paths[i]);
	}
	return result;
}

/* -------------------------------------------------------------------- the service */

/* Reads the unit's file, or that of its template. An alias is replaced by the name
 * that it stands for. */
static int read_fragment(struct unit *unit, const struct unit_place *place,
			 const char *name, char *ret_error, size_t size)
{
	char template[UNIT_NAME_SIZE];
	bool is_instance = unit_template_of(name, template);
	const char *found;

	snprintf(unit->name, sizeof(unit->name), "%s", name);
	if (!find_fragment(place, name, unit->fragment, sizeof(unit->fragment)) &&
	    !(is_instance &&
	      find_fragment(place, template, unit->fragment, sizeof(unit->fragment)))) {
		snprintf(ret_error, size,
			 "%s: there is no such unit%s%s: see systemctl list-unit-files",
			 name, *place->root ? " below " : "", place->root);
		return -ENOENT;
	}
	if (is_null_device(place, unit->fragment)) {
		snprintf(ret_error, size, "%s: it is masked: systemctl unmask %s", name,
			 name);
		return -EINVAL;
	}
	found = print_base_name(unit->fragment);
	if (strcmp(found, name) != 0 && !(is_instance && strcmp(found, template) == 0) &&
	    !strchr(found, '@') && strlen(found) < sizeof(unit->name))
		strcpy(unit->name, found);
	return 0;
}

int unit_load(struct unit *ret_unit, const struct unit_place *place, const char *name,
	      char *ret_error, size_t size)
{
	char *text;
	int result;

	*ret_unit = (struct unit){0};
	result = read_fragment(ret_unit, place, name, ret_error, size);
	if (result != 0)
		return result;
	text = unit_read_text(ret_unit->fragment);
	if (!text) {
		snprintf(ret_error, size, "%s: %s: read it as root", ret_unit->fragment,
			 strerror(errno));
		return -EACCES;
	}
	result = unit_parse(ret_unit, text);
	free(text);
	if (result == 0)
		result = read_dropins(ret_unit, place);
	if (result != 0)
		snprintf(ret_error, size, "%s: %s", name, strerror(-result));
	if (result != 0)
		unit_free(ret_unit);
	return result;
}
