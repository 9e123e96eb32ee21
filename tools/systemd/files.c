/* SPDX-License-Identifier: MIT
 *
 * The files of a drop-in. Each is written as a whole or not at all, and only files that
 * twshim made are replaced or removed.
 */
#include "tools/systemd/enable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/systemd/dropin.h"
#include "tools/base/output.h"

static int fail_because(char *ret_error, size_t size, const char *path, const char *why)
{
	snprintf(ret_error, size, "%s: %s", path, why);
	return -1;
}

/* Of a system call. */
static int fail_call(char *ret_error, size_t size, const char *path, int error)
{
	const char *cure = "mend that, and try again";

	if (error == EACCES || error == EPERM)
		cure = "do it as root, or with --user for a unit of your own systemd";
	else if (error == EROFS)
		cure = "--runtime puts it below /run";
	else if (error == ENOSPC)
		cure = "make room there";
	snprintf(ret_error, size, "%s: %s: %s", path, strerror(error), cure);
	return -1;
}

/* Reads what is there; ret_text is NULL if there is nothing. -1: it is not ours to
 * change. */
static int read_if_ours(const char *path, char **ret_text, char *ret_error, size_t size)
{
	struct stat st;

	*ret_text = NULL;
	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : fail_call(ret_error, size, path, errno);
	*ret_text = S_ISREG(st.st_mode) ? unit_read_text(path) : NULL;
	if (*ret_text && dropin_is_untouched(*ret_text))
		return 0;
	fail_because(
	    ret_error, size, path,
	    !*ret_text || !dropin_is_ours(*ret_text)
		? "it is not of twshim's making, and stays: move it away first"
		: "it was edited since twshim made it, and stays: move it away first");
	free(*ret_text);
	*ret_text = NULL;
	return -1;
}

/* -------------------------------------------------------------------------- writing */

/* mkdir -p; what is there already is left as it is. */
static int make_directories(const char *path)
{
	char part[PATH_MAX];

	for (const char *at = path; at;) {
		at = strchr(at + 1, '/');
		snprintf(part, sizeof(part), "%.*s", at ? (int)(at - path) : PATH_MAX - 1,
			 path);
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int write_file(const char *path, const char *text)
{
	struct output output;
	int result = output_open(&output, path);

	if (result != 0)
		return result;
	fchmod(fileno(output.file), 0644);
	fputs(text, output.file);
	return output_commit(&output);
}

/* `text` NULL: the file is to be removed. */
static int settle(const char *path, const char *text, bool dry,
		  enum enable_change *ret_change, char *ret_error, size_t size)
{
	char *before;
	int result = 0;

	*ret_change = ENABLE_UNCHANGED;
	if (read_if_ours(path, &before, ret_error, size) != 0)
		return -1;
	if (before && !text)
		*ret_change = ENABLE_REMOVED;
	else if (text && (!before || strcmp(before, text) != 0))
		*ret_change = before ? ENABLE_REPLACED : ENABLE_MADE;
	free(before);
	if (dry || *ret_change == ENABLE_UNCHANGED)
		return 0;
	if (*ret_change != ENABLE_REMOVED)
		result = write_file(path, text);
	else if (unlink(path) != 0)
		result = -errno;
	return result ? fail_call(ret_error, size, path, -result) : 0;
}

/* The policy is written before the drop-in that names it, and removed after it. */
int enable_write(const struct enable_plan *plan, bool dry, enum enable_change *ret_change,
		 char *ret_error, size_t size)
{
	enum enable_change policy = ENABLE_UNCHANGED;
	int result = dry ? 0 : make_directories(plan->directory);

	if (result != 0)
		return fail_call(ret_error, size, plan->directory, -result);
	if (plan->policy &&
	    settle(plan->policy_path, plan->policy, dry, &policy, ret_error, size) != 0)
		return -1;
	if (settle(plan->dropin_path, plan->dropin, dry, ret_change, ret_error, size) !=
	    0)
		return -1;
	if (!plan->policy &&
	    settle(plan->policy_path, NULL, dry, &policy, ret_error, size) != 0)
		return -1;
	if (*ret_change == ENABLE_UNCHANGED && policy != ENABLE_UNCHANGED)
		*ret_change = ENABLE_REPLACED;
	return 0;
}

int enable_remove(const char *directory, bool dry, enum enable_change *ret_change,
		  char *ret_error, size_t size)
{
	static const char *const names[] = {UNIT_DROPIN_NAME, ENABLE_POLICY_NAME};
	char path[PATH_MAX + 32];
	enum enable_change each;

	*ret_change = ENABLE_UNCHANGED;
	/* Checks all of them first, because removing half of them would be worse than
	 * nothing. */
	for (int pass = dry; pass < 2; pass++)
		for (size_t i = 0; i < 2; i++) {
			snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
			if (settle(path, NULL, pass == 0 || dry, &each, ret_error,
				   size) != 0)
				return -1;
			if (each != ENABLE_UNCHANGED)
				*ret_change = each;
		}
	if (!dry && *ret_change != ENABLE_UNCHANGED)
		rmdir(directory); /* if nobody else has anything in it */
	return 0;
}
