/* SPDX-License-Identifier: MIT */
#include "tools/launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/library.h"

#define PRELOAD	  "LD_PRELOAD="
#define DIRECTORY "TWSHIM_DIR="

/* The place of NAME= in the environment: of its entry, or the first free one. */
static char **place_of(char **environment, const char *name)
{
	while (*environment && strncmp(*environment, name, strlen(name)) != 0)
		environment++;
	return environment;
}

/* "NAME=VALUE", or NULL. */
static char *entry(const char *name, const char *value)
{
	char *ret;

	return value && asprintf(&ret, "%s%s", name, value) >= 0 ? ret : NULL;
}

static char *preload_entry(const char *old, const char *library)
{
	char *value = library_append(old ? old + strlen(PRELOAD) : NULL, library);
	char *ret = entry(PRELOAD, value);

	free(value);
	return ret;
}

char **launch_environment(char *const *environment, const char *library,
			  const char *directory)
{
	size_t count = 0;
	char **ret, **place;

	while (environment[count])
		count++;
	ret = calloc(count + 3, sizeof(*ret));
	if (!ret)
		return NULL;
	memcpy(ret, environment, count * sizeof(*ret));
	if (library) {
		place = place_of(ret, PRELOAD);
		*place = preload_entry(*place, library);
		if (!*place)
			goto out;
	}
	place = place_of(ret, DIRECTORY);
	*place = entry(DIRECTORY, directory);
	if (*place)
		return ret;
out:
	free(ret);
	return NULL;
}
