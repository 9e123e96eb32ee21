/* SPDX-License-Identifier: MIT */
#include "tools/launch/launch.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/shared/helper.h"
#include "tools/launch/library.h"

#define PRELOAD "LD_PRELOAD="
#define HELPER	TWS_HELPER "="
#define RUN	"TWSHIM_RUN="

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

/* The place of NAME= in the environment: its entry, or the first free place. */
static char **place_of_variable(char **environment, const char *name)
{
	while (*environment && strncmp(*environment, name, strlen(name)) != 0)
		environment++;
	return environment;
}

/* Stores the entry in its place. An entry of NULL means out of memory. */
static bool put_entry(char **place, char *new)
{
	if (!new)
		return false;
	free(*place);
	*place = new;
	return true;
}

/* With room for three entries more. */
static char **copy(char *const *environment)
{
	size_t count = 0;
	char **ret;

	while (environment[count])
		count++;
	ret = calloc(count + 4, sizeof(*ret));
	for (size_t i = 0; ret && i < count; i++) {
		ret[i] = strdup(environment[i]);
		if (!ret[i]) {
			launch_environment_free(ret);
			return NULL;
		}
	}
	return ret;
}

char **launch_environment(char *const *environment, const char *library, const char *tag,
			  const char *helper)
{
	char **ret = copy(environment);
	char **preload;

	if (!ret)
		return NULL;
	preload = place_of_variable(ret, PRELOAD);
	if ((!library || put_entry(preload, preload_entry(*preload, library))) &&
	    put_entry(place_of_variable(ret, RUN), entry(RUN, tag)) &&
	    (!helper || put_entry(place_of_variable(ret, HELPER), entry(HELPER, helper))))
		return ret;
	launch_environment_free(ret);
	return NULL;
}

void launch_environment_free(char **environment)
{
	for (char **at = environment; at && *at; at++)
		free(*at);
	free(environment);
}
