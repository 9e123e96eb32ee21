/* SPDX-License-Identifier: MIT
 *
 * What keeps programs of other users from publishing: a name that another user has taken,
 * and a file system that somebody has filled. For root, who can cure it.
 */
#ifndef TWS_TOOLS_TROUBLE_H
#define TWS_TOOLS_TROUBLE_H

#include <stddef.h>

#define PLACE_TROUBLES 16 /* are enough for a report */

struct place_trouble {
	char place[64];
	char what[320]; /* and the cure */
};

/* Looks at all places. Returns how many there are of which the first `room` are in
 * ret_troubles; 0 for others than root, and where $TWSHIM_DIR is set. */
size_t place_troubles(struct place_trouble *ret_troubles, size_t room);

#endif
