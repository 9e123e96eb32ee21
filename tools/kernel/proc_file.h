/* SPDX-License-Identifier: MIT
 *
 * The one reader of /proc: small text files, and those of processes. Processes come and
 * go, so a file that is missing is an answer and not a fault.
 */
#ifndef TWS_TOOLS_PROC_FILE_H
#define TWS_TOOLS_PROC_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads a whole text file, cut to `size`. 0, or -errno, and then the text is what could
 * be read, usually "". */
int proc_read(const char *path, char *ret_text, size_t size);

/* The same of /proc/PID/NAME. */
int proc_read_of(pid_t pid, const char *name, char *ret_text, size_t size);

/* Calls `wanted` with each line (or string that `delimiter` ends) of /proc/PID/NAME until
 * it returns true. 1 if it did, 0 if it never did, or -errno. */
int proc_any_line(pid_t pid, const char *name, int delimiter,
		  bool (*wanted)(const char *line, const void *data), const void *data);

/* Calls `visit` with each process until it returns a value other than 0, which becomes
 * the result. 0 also where /proc can't be read. */
int proc_each(int (*visit)(pid_t pid, void *data), void *data);

/* From the text of /proc/PID/status: the pid in its innermost namespace, and how many
 * namespaces it has a pid in (1: no namespace below ours). 0: no such line. Pure. */
pid_t proc_innermost_pid(const char *status, int *ret_levels);

/* The id of this boot, as segments carry it. False: unknown. */
bool proc_boot_id(uint8_t ret_id[16]);

#endif
