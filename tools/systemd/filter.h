/* SPDX-License-Identifier: MIT
 *
 * What a unit's SystemCallFilter= does to the shim and to twshim exec. See
 * systemd.exec(5).
 */
#ifndef TWS_TOOLS_FILTER_H
#define TWS_TOOLS_FILTER_H

#include "tools/systemd/unit.h"

/* Whose system calls they are. */
enum filter_who { FILTER_SHIM, FILTER_EXEC };

/* Writes the system calls of the shim, or of twshim exec and its supervisor, at which
 * systemd would have the unit killed, each after a blank. Returns how many there are.
 * `sets`: what systemd-analyze syscall-filter prints; "": not known, and then
 * @system-service has all of them but two and no other set has any. Pure. */
unsigned filter_kills(const struct unit *unit, const char *sets, enum filter_who who,
		      char *ret_calls, size_t size);

/* Asks systemd-analyze for its sets. To be freed; "" if it cannot say. NULL: no memory.
 */
char *filter_read_sets(void);

#endif
