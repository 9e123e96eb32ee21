/* SPDX-License-Identifier: MIT
 *
 * Reads segments: one directory or a tree, one segment in memory at a time. Files are
 * copied with pread(), never mapped, and nothing in them is trusted before it is checked.
 * What is no usable segment is skipped and named. Reads only; follows no link; waits for
 * no FIFO.
 */
#ifndef TWS_TOOLS_READER_H
#define TWS_TOOLS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/shared/segment.h"
#include "tools/kernel/process.h"

#define READER_SIZE_MAX (64u << 20) /* of a segment; more is no segment of ours */

/* What is read of one directory that is neither ours nor root's, and of its "run-*": a
 * user's files are holes at no cost to that user, and must cost us little. */
#define READER_FOREIGN_FILES 10000u
#define READER_FOREIGN_BYTES (1ull << 30)

/* Who writes a segment, as JSON names it: "shim", "bpf", "supervisor". */
const char *segment_observed_by(uint32_t observer);

/* A segment as it was at one moment. Counters were read before connections, so a
 * connection seen here as not ended is in no ended_* here. */
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
	uint32_t used[TWS_SECTIONS];
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
	bool foreign; /* the directory under way is another user's; what is left: */
	uint32_t foreign_files;
	uint64_t foreign_bytes;
	bool changed; /* segments were folded while we read: what we have is not whole */
	struct reader_buffer *buffers; /* one a section, kept from segment to segment */
	struct reader_front *front;
	uint32_t without; /* sections that nobody wants, as bits: none of them is used */
	struct reader_cache *cache; /* reader_cache.h; NULL: nothing is kept */
};

#define READER_SKIPPED_MAX 100

/* Whether a user's word is taken: root's and our own is. */
bool reader_trusts(uint32_t uid);

/* Whether an observer writes a segment and lives: how what is open ends, it will say. */
bool reader_observer_lives(struct reader *reader, const struct tws_header *header);

extern const char reader_too_much[]; /* a reason for skipping */

/* 0 or -ENOMEM. Free it in any case. */
int reader_init(struct reader *reader);
void reader_free(struct reader *reader);

/* Takes a segment; a value other than 0 ends the reading and becomes its result. */
typedef int (*reader_taker)(struct segment *segment, void *data);

/* Reads the directory `path`, and its "run-*" unless `only`: totals first, then segments
 * that no totals hold. 0, the taker's value, or -errno where `path` can't be read. */
int reader_read(struct reader *reader, const char *path, bool only, reader_taker take,
		void *data);

/* Reads the main directory at `path`, and what root finds in those of other users, which
 * there need not be. 0, the taker's value, or -errno where `path` can't be read; -ENOENT
 * with those of others taken. */
int reader_read_everywhere(struct reader *reader, const char *path, reader_taker take,
			   void *data);

/* One file in an open directory. NULL, with the segment taken (its result in ret_taken),
 * or why it was skipped; "" if it has vanished. */
const char *reader_read_file(struct reader *reader, int directory, const char *name,
			     reader_taker take, void *data, int *ret_taken);

/* Opens one file, to be followed: what is in the segment is for the caller to read,
 * within the sections of the header, which was checked. NULL, or why not, as above. */
const char *reader_open_file(struct reader *reader, int directory, const char *name,
			     struct tws_header *ret_header, int *ret_fd);

#endif
