/* SPDX-License-Identifier: MIT
 *
 * Reads segments: one directory or a tree, one segment in memory at a time. Files are
 * copied with pread(), never mapped, and nothing in them is trusted before it has been
 * checked. A file that is not a usable segment is skipped and listed. It only reads,
 * follows no symbolic link, and does not wait for a FIFO.
 */
#ifndef TWS_TOOLS_READER_H
#define TWS_TOOLS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "shim/shared/segment.h"
#include "tools/kernel/process.h"
#include "tools/segments/allowance.h"
#include "tools/segments/names.h"

#define READER_SIZE_MAX (64u << 20) /* of a segment; larger files are not ours */

/* A segment as it was at one moment. Counters were read before connections, so the
 * counters of a connection that is open here do not include its end. */
struct segment {
	const char *directory; /* "" the main one, else run-... */
	const char *name;
	struct tws_header header;
	enum process_life life; /* totals: dead */
	bool by_root;		/* written by an observer of root's: whoever's the process
				   is, this is root's word */
	bool is_observed;	/* see reader_observer_lives() */
	struct tws_counters process;
	/* Each section's used elements, as many as in `used`. */
	const struct tws_connection *connections;
	struct tws_destination *destinations; /* a copy: the taker may settle in it */
	struct tws_arm *arms;		      /* likewise */
	const struct tws_rule_status *rules;
	const struct tws_ended *ended; /* whole records only are to be used: see below */
	const uint64_t *time_wait;     /* TWS_TW_PACK; 0: none */
	const struct tws_folded *folded;
	const struct tws_slice *slices;	 /* NULL: there are none, or not wanted */
	uint32_t used[TWS_SECTIONS + 1]; /* the last: slices */
};

/* Whether a record of the ring is whole and was not being overwritten while we read. */
bool segment_ended_is_whole(const struct segment *segment, uint32_t index);

struct reader_skipped {
	char *name; /* "run-x/1-2-3-0.seg" */
	const char *reason;
};

struct reader {
	struct process_view processes;
	uint8_t boot_id[16];
	bool has_boot_id;
	struct reader_skipped *skipped; /* the first READER_SKIPPED_MAX */
	size_t skipped_count;		/* of all */
	struct allowances allowances;
	uint32_t directory_user; /* whose the directory under way is, */
	uint32_t file_user;	 /* and the file: both must have something left */
	const uint8_t *run;	 /* only segments of this run are taken; NULL: all */
	bool changed; /* segments were folded while we read: what we have is not whole */
	struct reader_buffer *buffers; /* one per section, reused for each segment */
	struct reader_front *front;
	uint32_t without; /* sections that are not needed, as bits: they are not read;
			     1 << TWS_SECTIONS: slices */
	struct reader_cache *cache; /* see cache.h; NULL: nothing is kept */
};

/* Whether it belongs to the run that is read. */
static inline bool reader_wants(const struct reader *reader,
				const struct tws_header *header)
{
	return !reader->run || memcmp(header->run, reader->run, TWS_RUN_SIZE) == 0;
}

#define READER_SKIPPED_MAX 100

/* Whether an observer writes a segment and still lives, so that it will record how open
 * connections end. */
bool reader_observer_lives(struct reader *reader, const struct tws_header *header);

extern const char reader_too_much[]; /* a reason for skipping */

/* 0 or -ENOMEM. Free it in any case. */
int reader_init(struct reader *reader);
void reader_free(struct reader *reader);

/* Receives a segment. A value other than 0 ends the reading and becomes its result. */
typedef int (*reader_taker)(struct segment *segment, void *data);

/* Reads the directory `path`, and its "run-*" unless `only`: totals first, then segments
 * that no totals hold. 0, the taker's value, or -errno where `path` can't be read. */
int reader_read(struct reader *reader, const char *path, bool only, reader_taker take,
		void *data);

/* Reads the main directory at `path`, which need not exist, and for root those of other
 * users. Returns 0, the taker's value, or -errno if `path` can't be read; with -ENOENT,
 * the directories of others were read. */
int reader_read_everywhere(struct reader *reader, const char *path, reader_taker take,
			   void *data);

/* Notes whose directory comes next. False: nothing more of that user's is to be read. */
bool reader_enter(struct reader *reader, int directory);

/* Reads one file in an open directory. Returns NULL and the taker's result in
 * ret_taken, or why the file was skipped; "" if it has vanished. */
const char *reader_read_file(struct reader *reader, int directory, const char *name,
			     reader_taker take, void *data, int *ret_taken);

/* Opens one file to be followed: the caller reads the segment, within the sections of
 * the header, which was checked. Returns NULL, or why not, as above. */
const char *reader_open_file(struct reader *reader, int directory, const char *name,
			     struct tws_header *ret_header, int *ret_fd);

#endif
