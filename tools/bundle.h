/* SPDX-License-Identifier: MIT
 *
 * `twshim doctor --bundle FILE`: one text file with everything that a colleague needs who
 * cannot look at this host.
 */
#ifndef TWS_TOOLS_BUNDLE_H
#define TWS_TOOLS_BUNDLE_H

#include "tools/advice/doctor.h"

/* Writes it to `path` ("-": standard output), which is complete or unchanged. The doctor
 * must have been asked to be discreet. Returns the exit status; prints the reason of a
 * failure. */
int bundle_write(const struct doctor *doctor, const char *path);

#endif
