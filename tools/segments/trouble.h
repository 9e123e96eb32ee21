/* SPDX-License-Identifier: MIT
 *
 * What keeps programs of other users from publishing: a name that another user has taken,
 * and a file system that somebody has filled. For root, who can cure it.
 */
#ifndef TWS_TOOLS_TROUBLE_H
#define TWS_TOOLS_TROUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLACE_TROUBLES 16 /* are enough for a report */

struct place_trouble {
	char place[64];
	char what[256];
	char cure[96];
};

/* Looks at all places. Returns how many there are of which the first `room` are in
 * ret_troubles; 0 for others than root, and where $TWSHIM_DIR is set. */
size_t place_troubles(struct place_trouble *ret_troubles, size_t room);

/* Finds a user whose programs have published in shared memory, where systemd-logind
 * deletes it when the user logs out; for others than root, only this user. */
bool place_is_fleeting(uint32_t *ret_user);

#endif
