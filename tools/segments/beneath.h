/* SPDX-License-Identifier: MIT
 *
 * Opens what another user may have put into a directory: not through a symbolic link, not
 * out of the directory, not what is mounted over it, and without waiting for a FIFO or a
 * lease.
 */
#ifndef TWS_TOOLS_BENEATH_H
#define TWS_TOOLS_BENEATH_H

/* Opens `name`, one component, for reading; `flags` may add O_DIRECTORY
 * or O_PATH. A descriptor, or
 * -errno: -ELOOP for a symbolic link, -EXDEV where something is mounted over it, -EAGAIN
 * where somebody holds a lease on it. */
int open_beneath(int directory, const char *name, int flags);

/* The same through openat(), as on kernels before 5.6. */
int open_beneath_by_hand(int directory, const char *name, int flags);

/* Why a file that open_beneath() did not open is skipped; "" if it has vanished. */
const char *open_beneath_failure(int error);

#endif
