/* SPDX-License-Identifier: MIT
 *
 * A segment as JSON, every field of it, for a bug report: also of a file that no reader
 * would take, because it is damaged, from another boot or from another host.
 */
#ifndef TWS_TOOLS_DUMP_H
#define TWS_TOOLS_DUMP_H

#include <stddef.h>
#include <stdio.h>

/* Writes one object, schema twshim.dump/1. `bytes` is the whole file, aligned for any
 * structure of segment.h; nothing in it is trusted. What cannot be read is named under
 * "problem" instead. */
void segment_dump(FILE *out, const char *path, const void *bytes, size_t size);

#endif
