/* SPDX-License-Identifier: MIT */
#include "tools/launch/library.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEPARATORS " :"

bool library_is_expressible(const char *path)
{
	return !path[strcspn(path, SEPARATORS "\n$")];
}

/* The directory of the running program, without a slash at the end; "" if unknown. */
static void own_directory(char *ret_path, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", ret_path, size - 1);
	char *slash;

	ret_path[length > 0 ? length : 0] = '\0';
	slash = strrchr(ret_path, '/');
	if (slash)
		*slash = '\0';
}

/* The first place that has the library, resolved. Returns 0 or -ENOENT. */
static int find_file(const char *own, char ret_path[PATH_MAX])
{
	static const char *const formats[] = {
	    "%s/" LIBRARY_NAME,
	    "%s/" TWSHIM_LIBDIR_BESIDE "/" LIBRARY_NAME,
	    "%.0s" TWSHIM_LIBDIR "/" LIBRARY_NAME,
	};
	char path[2 * PATH_MAX];

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		snprintf(path, sizeof(path), formats[i], own);
		if (access(path, R_OK) == 0 && realpath(path, ret_path))
			return 0;
	}
	return -ENOENT;
}

int library_find(char *ret_path, size_t size, char *ret_error, size_t error_size)
{
	char own[PATH_MAX], path[PATH_MAX];

	own_directory(own, sizeof(own));
	if (find_file(own, path) != 0) {
		snprintf(ret_error, error_size,
			 "%s: neither in %s, nor in %s/%s, nor in %s: build it with "
			 "make, or install it",
			 LIBRARY_NAME, own, own, TWSHIM_LIBDIR_BESIDE, TWSHIM_LIBDIR);
		return -ENOENT;
	}
	if (!library_is_expressible(path)) {
		snprintf(ret_error, error_size,
			 "%s: LD_PRELOAD can't hold a blank, a colon or a dollar sign: "
			 "move or install it elsewhere",
			 path);
		return -EINVAL;
	}
	if (strlen(path) >= size) {
		snprintf(ret_error, error_size, "%s: the path is too long", path);
		return -ENAMETOOLONG;
	}
	strcpy(ret_path, path);
	return 0;
}

static bool is_library(const char *word, size_t length, const char *library)
{
	const char *slash = memrchr(word, '/', length);
	const char *name = slash ? slash + 1 : word;

	if (library)
		return strlen(library) == length && memcmp(word, library, length) == 0;
	length -= (size_t)(name - word);
	return strlen(LIBRARY_NAME) == length && memcmp(name, LIBRARY_NAME, length) == 0;
}

bool library_is_listed(const char *value, const char *library)
{
	while (value && *value) {
		size_t length = strcspn(value, SEPARATORS);

		if (is_library(value, length, library))
			return true;
		value += length + strspn(value + length, SEPARATORS);
	}
	return false;
}

/* "FOLDER/twshim.d/$LIB/libtwshim.so", of the folder that the library is in. */
static void word_of_tree(const char *library, char ret_word[PATH_MAX])
{
	const char *slash = strrchr(library, '/');
	int length = slash ? (int)(slash + 1 - library) : 0;

	snprintf(ret_word, PATH_MAX, "%.*s" LIBRARY_TREE "/$LIB/" LIBRARY_NAME, length,
		 library);
}

static bool is_same_file(const char *one, const char *other)
{
	struct stat first, second;

	return stat(one, &first) == 0 && stat(other, &second) == 0 &&
	       first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

const char *library_preload(const char *library)
{
	static char word[PATH_MAX];

	if (*TWSHIM_PRELOAD && strcmp(library, TWSHIM_LIBDIR "/" LIBRARY_NAME) == 0)
		return TWSHIM_PRELOAD;
	word_of_tree(library, word);
	return is_same_file(word, library) ? word : library;
}

/* By either name that Debian's loaders have for them: on amd64 alone, or installed for
 * both architectures. */
bool library_has_i386(const char *library)
{
	static const char *const names[] = {"lib32", "lib/i386-linux-gnu"};
	const char *word = library_preload(library), *at = strstr(word, "$LIB");
	char path[PATH_MAX];

	for (size_t i = 0; at && i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%.*s%s%s", (int)(at - word), word, names[i],
			 at + strlen("$LIB"));
		if (access(path, R_OK) == 0)
			return true;
	}
	return false;
}

char *library_append(const char *value, const char *library)
{
	const char *word = library_preload(library);
	char *ret;

	if (!value || !*value)
		return strdup(word);
	if (library_is_listed(value, library) || library_is_listed(value, word))
		return strdup(value);
	return asprintf(&ret, "%s:%s", value, word) < 0 ? NULL : ret;
}
