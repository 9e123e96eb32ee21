/* SPDX-License-Identifier: MIT
 *
 * Where root's observers publish what they see of other users' programs:
 * /run/twshim/seen/UID. It belongs to root, so that the user can neither truncate nor
 * falsify what root writes; an ACL lets that user read it.
 */
#ifndef TWS_TOOLS_SEGMENTS_SEEN_H
#define TWS_TOOLS_SEGMENTS_SEEN_H

#include <stdbool.h>
#include <sys/types.h>

#include "shim/shared/rundir.h"

#define SEEN_DIRECTORY TWS_SYSTEM_DIRECTORY "/seen"

/* Opens the directory of a user, and makes it if there is none. For root, after
 * prepare_places(). A descriptor, or -errno: where the tmpfs has no ACLs, or where
 * $TWSHIM_DIR names the only directory. */
int seen_open(uid_t user);

/* Visits the directory of this user, or for root those of all users. A value other than 0
 * ends the walk and becomes its result. */
int seen_each(int (*visit)(const char *path, void *data), void *data);

/* Whether an open directory is one of them: in it only root's files count. */
bool seen_is_one(int directory);

#endif
