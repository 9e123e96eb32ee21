/* SPDX-License-Identifier: MIT
 *
 * Which build this is.
 */
#ifndef TWS_TOOLS_VERSION_H
#define TWS_TOOLS_VERSION_H

#include <stddef.h>

/* The commit that it was built from, or "unknown". main() sets it: so a new commit
 * compiles one file again. */
extern const char *version_commit;

/* "1.5": the layout of segments, and of policy images. */
extern const char version_segment_abi[], version_policy_abi[];

/* The C library that runs it: "glibc 2.36". Returns `buffer`. */
const char *version_libc(char *buffer, size_t size);

#endif
