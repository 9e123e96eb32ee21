/* SPDX-License-Identifier: MIT
 *
 * What a run leaves in the background: daemons and other processes.
 */
#ifndef TWS_TOOLS_RUN_LEFT_H
#define TWS_TOOLS_RUN_LEFT_H

#include <stdbool.h>

/* Names them on standard error, if there are any, and says who will know what they do.
 * `kernel`: the kernel observed what the shim does not reach, and does so no more. */
void run_left_name(const char *tag, bool kernel);

#endif
