/* SPDX-License-Identifier: MIT
 *
 * Keeps what was read of segments that no process writes to any more, for readers that
 * read repeatedly. Such a segment is recognised by the name, inode, size and times of its
 * file. Segments that a reading did not find are dropped. Memory is bounded. Not for use
 * by several threads.
 */
#ifndef TWS_TOOLS_READER_CACHE_H
#define TWS_TOOLS_READER_CACHE_H

#include <sys/stat.h>

#include "tools/segments/reader.h"

#define READER_CACHE_BYTES                                                               \
	(32u << 20) /* in total; segments beyond it are read each time                   \
		     */

struct reader_cache;

/* NULL: out of memory. Freeing NULL does nothing. */
struct reader_cache *reader_cache_new(void);
void reader_cache_free(struct reader_cache *cache);

/* To be called before and after a reading of all directories. NULL: nothing is done. */
void reader_cache_begin(struct reader_cache *cache);
void reader_cache_end(struct reader_cache *cache);

/* Returns the segment of this file, if it is unchanged since it was kept. It is valid
 * until the next call. False: not kept, or changed since. */
bool reader_cache_recall(struct reader_cache *cache, int directory, const char *name,
			 struct segment *ret_segment);

/* Keeps a segment at rest, as it was in the file that `st` describes. Does nothing if
 * there is no room or memory. */
void reader_cache_keep(struct reader_cache *cache, const struct stat *st,
		       const struct segment *segment);

/* How much memory the cache uses. */
size_t reader_cache_bytes(const struct reader_cache *cache);

#endif
