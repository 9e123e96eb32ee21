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

/* How a library is loaded at run time, and what is said instead of how to
 * install it. */
#ifdef TWSHIM_STATIC
#define VERSION_DLOPEN(library) NULL
#define VERSION_CURE(cure)	"a static twshim loads no libraries: use the usual one"
#else
#define VERSION_DLOPEN(library) dlopen(library, RTLD_NOW | RTLD_LOCAL)
#define VERSION_CURE(cure)	cure
#endif

/* The C library that runs it: "glibc 2.36". Returns `buffer`. */
const char *version_libc(char *buffer, size_t size);

#endif
