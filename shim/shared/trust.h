/* SPDX-License-Identifier: MIT
 *
 * Who could write a policy file: the one rule by which the shim and a supervisor decide
 * whether to obey it. System calls only, no allocation, no errno.
 */
#ifndef TWS_SHIM_TRUST_H
#define TWS_SHIM_TRUST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* Whether what this user owns is obeyed. */
typedef bool (*tws_obeys)(uint32_t owner);

/* Whether an open policy.ctl is whole, has one link, and is written by such users alone.
 */
bool tws_is_file_trusted(int fd, tws_obeys obeys, struct stat *ret_stat);

/* Whether only such users can replace what is in an open directory: they alone write it,
 * and nobody else can rename it or a directory above it, up to the root of its file
 * system. */
bool tws_is_chain_trusted(int directory, tws_obeys obeys);

#endif
