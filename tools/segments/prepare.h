/* SPDX-License-Identifier: MIT
 *
 * Root makes the places where programs publish, and users only fill them: /run/twshim, a
 * tmpfs of its own in which only root creates entries, and in it one directory per user.
 * Where no tmpfs can be mounted, root makes only its own entries, so that no user can
 * fill /run.
 */
#ifndef TWS_TOOLS_PREPARE_H
#define TWS_TOOLS_PREPARE_H

#include <stdbool.h>
#include <sys/types.h>

/* Makes the places for root and for each user in /etc/passwd. Does nothing for others
 * than root, or where $TWSHIM_DIR is set. Returns 0; -EBUSY if something else is in the
 * place of the tmpfs; or -errno. What could be made is made in any case. */
int prepare_places(void);

/* Makes the place of one user more. 0, or -errno; -EPERM if /run/twshim is no tmpfs. */
int prepare_user(uid_t user);

/* Makes the policy.ctl of an open directory of a layer, if there is none: no policy was
 * ever loaded. Returns 0 or -errno. */
int prepare_control(int directory, mode_t mode);

/* Gives such a file its size. Returns 0 or -errno. */
int prepare_control_size(int fd);

#endif
