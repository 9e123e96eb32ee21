/* SPDX-License-Identifier: MIT
 *
 * Where libtwshim.so is, and how it is added to LD_PRELOAD beside what others put there.
 */
#ifndef TWS_TOOLS_LIBRARY_H
#define TWS_TOOLS_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

#define LIBRARY_NAME "libtwshim.so"

/* A folder beside the library, where one for 32-bit programs was built as well. It has,
 * for each value of glibc's $LIB, a folder with the library of those programs, and one
 * whose name is $LIB itself, which musl takes literally: packaging/make-preload-tree. The
 * library's name is not part of its own: the shim looks whether it is listed twice. */
#define LIBRARY_TREE "twshim.d"

/* Finds the library beside the running twshim, where a moved prefix has it, or else
 * where it was installed. Returns 0,
 * or -errno with a one-line reason and its cure: -ENOENT, or -EINVAL if LD_PRELOAD
 * cannot express its path. */
int library_find(char *ret_path, size_t size, char *ret_error, size_t error_size);

/* Whether LD_PRELOAD can express a path: blanks and colons separate paths, and $NAME
 * is expanded. Pure. */
bool library_is_expressible(const char *path);

/* What LD_PRELOAD names for a library: its path, or, where the libraries of several
 * architectures are installed or built beside each other, a path in which the loader
 * replaces $LIB, so that 32-bit and 64-bit programs each load their own. Looks for the
 * tree; the text is valid until the next call. */
const char *library_preload(const char *library);

/* Whether i386 programs find a library of their own by what LD_PRELOAD names for this
 * one, which is for x86-64. */
bool library_has_i386(const char *library);

/* A value of LD_PRELOAD with the library last; a library that is listed already stays
 * where it is. `value` may be NULL. The result is malloc()ed; NULL: out of memory.
 * Pure. */
char *library_append(const char *value, const char *library);

/* Whether a value of LD_PRELOAD lists this path or, if `library` is NULL, any
 * libtwshim.so. `value` may be NULL. Pure. */
bool library_is_listed(const char *value, const char *library);

#endif
