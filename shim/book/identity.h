/* SPDX-License-Identifier: MIT
 *
 * The user that this process is, as far as files are concerned. The principle: whoever
 * may truncate a file that we map must be somebody who may kill us, since truncating a
 * mapped file ends the process.
 */
#ifndef TWS_SHIM_IDENTITY_H
#define TWS_SHIM_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#define TWS_NO_USER UINT32_MAX

/* The user that all IDs of this process name, or TWS_NO_USER while they differ, or
 * while a user other than root could still become another one. The file-system ID is
 * not asked for: a file that we make shows it. One system call for root, at most five
 * for other users. */
uint32_t tws_identity_user(void);

/* The user that tws_identity_user() would return, asked with one system call. It
 * suffices for going back to a segment that this process made as that user. */
uint32_t tws_identity_user_again(void);

/* Whether this process obeys a policy that `owner` can write: root's, and that of the
 * user that this process has been since its exec, if it has no capabilities. `user`:
 * what tws_identity_user() returned. */
bool tws_identity_obeys(uint32_t user, uint32_t owner);

#endif
