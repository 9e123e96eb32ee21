/* SPDX-License-Identifier: MIT
 *
 * The places where programs publish: the one rule, which the shim and the tools compile.
 *
 *   TWSHIM_DIR             if it is set and does not belong to another user
 *   /run/twshim/UID        root makes it (twshim prepare); the user fills it
 *   /dev/shm/twshim-UID    the user's program makes it; with -NAMESPACE appended in a
 *                          user namespace other than the first
 *
 * A place is used only if it belongs to the user, nobody else can write it, and it is in
 * memory. Nothing else in the environment matters. System calls only, no allocation, no
 * errno.
 */
#ifndef TWS_SHIM_RUNDIR_H
#define TWS_SHIM_RUNDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/shared/segment.h"

#define TWS_SYSTEM_DIRECTORY "/run/twshim"
#define TWS_SHARED_MEMORY    "/dev/shm/twshim-"

enum tws_place { TWS_PLACE_GIVEN, TWS_PLACE_SYSTEM, TWS_PLACE_SHM };

/* The path of a place; `given` is the value of TWSHIM_DIR, or "". */
void tws_place_path(enum tws_place place, const char *given, uint32_t user,
		    char *ret_path, size_t size);

/* Opens one place, and makes it first if `make` is set and it is one that programs make.
 * Returns a descriptor; -EPERM if it is not the user's alone or not in memory; -errno. */
int tws_place_open(enum tws_place place, const char *given, uint32_t user, bool make);

/* Opens the first place, from `*place` on, that can be used, and says which one it is.
 * With TWSHIM_DIR that is the only one, unless the directory belongs to another user. */
int tws_place_find(const char *given, uint32_t user, bool make, enum tws_place *place);

/* The bytes of a tag of 32 lower-case hexadecimal digits. False: it is not one. */
bool tws_run_parse(const char *tag, uint8_t ret_run[TWS_RUN_SIZE]);

/* The tag of a run, and whether it is a run at all: not all zeros. */
void tws_run_tag(const uint8_t run[TWS_RUN_SIZE], char ret_tag[TWS_RUN_TAG_SIZE]);
bool tws_run_is_set(const uint8_t run[TWS_RUN_SIZE]);

/* Whether a run goes on: its directory is in /run/twshim/run, or in the place that is
 * open as `place`. */
bool tws_run_goes_on(int place, const uint8_t run[TWS_RUN_SIZE]);

#endif
