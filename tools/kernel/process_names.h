/* SPDX-License-Identifier: MIT
 *
 * What a running process is called, read from /proc, by the rules of shim/shared/names.h.
 */
#ifndef TWS_TOOLS_PROCESS_NAMES_H
#define TWS_TOOLS_PROCESS_NAMES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/shared/segment.h"

/* Fills ret_names except the parent, which is left alone. What can't be read is "". */
void process_names(pid_t pid, const char *exe, struct tws_names *ret_names);

/* How its owner calls the process: "cron.sh". Returns `buffer`, or NULL if the process is
 * gone. */
const char *process_app(pid_t pid, char *buffer, size_t size);

/* Its whole command line, its words separated by blanks, as long as it is the process
 * that started at `start_time`. It may hold secrets: only for whoever asks on this
 * machine. NULL: it is gone, or can't be read. The caller frees it. */
char *process_command(pid_t pid, uint64_t start_time);

#endif
