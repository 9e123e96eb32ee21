/* SPDX-License-Identifier: MIT
 *
 * What was read of segments that nobody writes to any more, kept from one reading to the
 * next by who reads again and again. Such a segment is known by its file's name, inode,
 * size and times; what a reading did not find is forgotten. Bounded. No threads.
 */
#ifndef TWS_TOOLS_READER_CACHE_H
#define TWS_TOOLS_READER_CACHE_H

#include <sys/stat.h>

#include "tools/segments/reader.h"

#define READER_CACHE_BYTES                                                               \
	(32u << 20) /* of all; what would be more is read each time                      \
		     */

struct reader_cache;

/* NULL: out of memory. Freeing NULL does nothing. */
struct reader_cache *reader_cache_new(void);
void reader_cache_free(struct reader_cache *cache);

/* Around a reading of all directories. NULL: nothing is done. */
void reader_cache_begin(struct reader_cache *cache);
void reader_cache_end(struct reader_cache *cache);

/* The segment of this file, if it is as it was kept. Good until the next. False: not
 * kept, or changed since. */
bool reader_cache_recall(struct reader_cache *cache, int directory, const char *name,
			 struct segment *ret_segment);

/* Keeps a segment at rest, as it was in the file that `st` describes. Out of room or
 * memory, does nothing. */
void reader_cache_keep(struct reader_cache *cache, const struct stat *st,
		       const struct segment *segment);

/* How much memory what is kept takes. */
size_t reader_cache_bytes(const struct reader_cache *cache);

#endif
