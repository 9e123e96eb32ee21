/* SPDX-License-Identifier: MIT */
#include "tools/kernel/naming.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool limited;

void naming_hide_others(void)
{
	limited = true;
}

bool naming_is_limited(void)
{
	return limited;
}

const char *naming_of_user(char buffer[NAMING_SIZE], uint32_t user, const char *name)
{
	if (!limited || user == geteuid())
		return name;
	snprintf(buffer, NAMING_SIZE, "user %u", (unsigned)user);
	return buffer;
}

const char *naming_of_process(char buffer[NAMING_SIZE], const char *proc, pid_t pid,
			      const char *name)
{
	char path[4096];
	struct stat st;

	if (!limited)
		return name;
	snprintf(path, sizeof(path), "%s/%d", proc, (int)pid);
	return stat(path, &st) == 0 ? naming_of_user(buffer, st.st_uid, name) : "?";
}
