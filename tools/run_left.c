/* SPDX-License-Identifier: MIT */
#include "tools/run_left.h"

#include <stdio.h>
#include <sys/types.h>

#include "tools/base/cli.h"
#include "tools/kernel/lineage.h"
#include "tools/kernel/process.h"

#define NAMED 5

/* The first that the shim does not observe; 0: it observes all. */
static pid_t find_unobserved(const pid_t *pids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (process_has_shim(pids[i]) == 0)
			return pids[i];
	return 0;
}

static void say(const char *who, size_t count, pid_t unobserved)
{
	if (unobserved)
		cli_fail(
		    0,
		    "%zu of its processes still run%s: %s: process %d is not observed "
		    "any more: twshim watch --pid %d observes it from now on",
		    count, count == 1 ? "s" : "", who, (int)unobserved, (int)unobserved);
	else
		cli_fail(0,
			 "%zu of its processes still run%s: %s: twshim report shows them "
			 "as well",
			 count, count == 1 ? "s" : "", who);
}

void run_left_name(const char *tag, bool kernel)
{
	char list[256] = "", name[32];
	pid_t pids[NAMED];
	size_t count = lineage_of_run(tag, pids, NAMED), length = 0;
	size_t named = count < NAMED ? count : NAMED;

	if (count == 0)
		return;
	for (size_t i = 0; i < named; i++)
		length += (size_t)snprintf(
		    list + length, sizeof(list) - length, "%s%s (%d)", i ? ", " : "",
		    lineage_name(pids[i], name, sizeof(name)), (int)pids[i]);
	if (count > named)
		snprintf(list + length, sizeof(list) - length, " ...");
	say(list, count, kernel ? find_unobserved(pids, named) : 0);
}
