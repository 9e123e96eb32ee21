/* SPDX-License-Identifier: MIT
 *
 * The policy of a run that no `twshim run` owns: of what gets an environment of `twshim
 * env`, and of a systemd service.
 */
#ifndef TWS_TOOLS_RUN_POLICY_H
#define TWS_TOOLS_RUN_POLICY_H

#include "config/compile.h"
#include "tools/launch/run_directory.h"

/* Puts the policy in force in the run, and leaves the run; if that fails, discards it.
 * 0, or the exit status after it has printed why. */
int run_policy_leave(struct run_directory *run, const struct tws_source *source);

/* The same for a run that is made and has a tag of its policy, so that an environment
 * that is asked for again and again has one run, whose totals are bounded. */
int run_policy_make(struct run_directory *ret_run, const struct tws_source *source);

/* The same for the run of that tag, which is made. */
int run_policy_load(const char *tag, const struct tws_source *source);

#endif
