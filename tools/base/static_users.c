/* SPDX-License-Identifier: MIT
 *
 * The users and groups of a static twshim, from /etc/passwd and /etc/group. libc's own
 * functions would load the libraries that nsswitch.conf(5) names, which may be those of
 * another libc.
 */
#ifdef TWSHIM_STATIC
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_user(const struct passwd *user, const char *name, uid_t uid)
{
	return name ? strcmp(user->pw_name, name) == 0 : user->pw_uid == uid;
}

static struct passwd *find_user(const char *name, uid_t uid)
{
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd *ret = NULL;

	while (file && (ret = fgetpwent(file)) != NULL && !is_user(ret, name, uid))
		;
	if (file)
		fclose(file);
	return ret;
}

struct passwd *getpwuid(uid_t uid)
{
	return find_user(NULL, uid);
}

struct passwd *getpwnam(const char *name)
{
	return find_user(name, 0);
}

struct group *getgrnam(const char *name)
{
	FILE *file = fopen("/etc/group", "re");
	struct group *ret = NULL;

	while (file && (ret = fgetgrent(file)) != NULL && strcmp(ret->gr_name, name) != 0)
		;
	if (file)
		fclose(file);
	return ret;
}
#endif
