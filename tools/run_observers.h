/* SPDX-License-Identifier: MIT
 *
 * What `twshim run` observes beside the shim: as root through the kernel; as another
 * user, or where a policy is to act, by a supervisor. It observes the programs that the
 * shim does not reach: the command itself, or what it starts.
 */
#ifndef TWS_TOOLS_RUN_OBSERVERS_H
#define TWS_TOOLS_RUN_OBSERVERS_H

#include <limits.h>
#include <stdbool.h>

#include "tools/launch/launch.h"
#include "tools/launch/reach.h"
#include "tools/launch/run_directory.h"
#include "tools/model/settler.h"
#include "tools/observe/observation.h"
#include "tools/observe/publish_places.h"
#include "tools/observe/supervisor.h"

struct run_observers {
	struct observation observation;
	struct supervisor supervisor;
	struct publish_places places;
	const struct run_directory *directory;
	bool kernel, supervised;
	bool direct; /* the command itself is handed over */
	int netlink; /* of the settler, if so; or -1 */
	bool rests;  /* the settler, until a program that has the shim calls */
	char helper[PATH_MAX];
	uint64_t began_ns; /* run_unseen_now() */
	char why_not[256]; /* why there is no supervisor; "": none was wanted */
};

/* Begins. `policy`: the run has one. `settler`: what settles killed processes, or NULL.
 * run_observers_fd() waits for it too. */
void run_observers_begin(struct run_observers *observers, const struct reach *reach,
			 const struct run_directory *directory, bool policy,
			 struct settler *settler);

/* What to use instead of the shim, for a sentence about a command that it does not
 * reach. NULL: nothing. */
const char *run_observers_instead(const struct run_observers *observers);

/* The path of the helper of shim/shared/helper.h, if there is a supervisor; NULL. */
const char *run_observers_helper(const struct run_observers *observers);

/* A descriptor to wait for instead of the settler's, or -1. */
int run_observers_fd(const struct run_observers *observers);

/* Takes in what has happened. */
void run_observers_step(struct run_observers *observers);

/* For struct launch: becomes the command. */
int run_observers_execute(const struct run_observers *observers,
			  const struct launch *launch);

/* Whether no program that has the shim has called, so that none is to be settled. */
bool run_observers_met_no_shim(const struct run_observers *observers);

/* The command has ended: waits a little for what ends with it, and says what was
 * missed. */
void run_observers_conclude(struct run_observers *observers);

void run_observers_end(struct run_observers *observers);

#endif
