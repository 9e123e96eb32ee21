/* SPDX-License-Identifier: MIT
 *
 * What an application is called by those who own it: by TWSHIM_APP, its systemd unit, its
 * container, the script that an interpreter runs, or its executable. Pure: the caller
 * reads the command line and /proc/PID/cgroup. The shim names itself and the tools name
 * other processes by the same functions. All input may be hostile.
 *
 * A command line may hold secrets. Of it, only the base name of a script or the name of a
 * module or class gets into a name.
 */
#ifndef TWS_SHIM_NAMES_H
#define TWS_SHIM_NAMES_H

#include <stddef.h>

#include "shim/shared/names_struct.h"

/* Sets names->script from a command line: strings, each followed by a NUL, as in
 * /proc/PID/cmdline. "" if `exe` is no interpreter that is known, or if the code is in
 * the command line itself or comes from standard input. */
void tws_names_script(struct tws_names *names, const char *exe, const char *command,
		      size_t length);

/* Sets names->unit and names->container from the text of /proc/PID/cgroup, of cgroup v1
 * or v2; "" for what it does not show. A container without a name in its path is called
 * by the first twelve digits of its ID. */
void tws_names_cgroup(struct tws_names *names, const char *cgroup);

/* What the application is called: the first name that exists, at least the base name of
 * `exe`. Units that only start the commands of others (cron, sshd, systemd-run) do not
 * count. */
const char *tws_names_app(const struct tws_names *names, const char *exe);

/* Copies a name and cuts it off at the end if it is too long, between two characters of
 * UTF-8. */
void tws_names_set(char *name, size_t size, const char *text, size_t length);

#endif
