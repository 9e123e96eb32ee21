/* SPDX-License-Identifier: MIT
 *
 * Shared by the parts of folding: fold.c (totals and the order of steps), fold_read.c
 * (files), fold_scan.c (which segments are due), fold_add.c (adding one to the totals).
 */
#ifndef TWS_SHIM_FOLD_PARTS_H
#define TWS_SHIM_FOLD_PARTS_H

#include "shim/shared/fold.h"

struct tws_candidate {
	char name[96];
	uint64_t heartbeat_ns;
	uint64_t exe_hash; /* of the application, and of its run while that goes on */
	bool nameless;	   /* it counts for its executable only */
	bool unsettled;	   /* it was killed, and nobody has asked the kernel yet how its
			      connections ended */
	uint8_t run[TWS_RUN_SIZE]; /* the run whose totals it goes into; all 0: none */
};

struct tws_scan {
	int directory;
	uint64_t now_ns;
	uint64_t pid_namespace; /* inode of our pid namespace */
	uint32_t retention_s;
	struct tws_candidate *candidates; /* segments of dead processes */
	uint32_t count;
	uint32_t totals; /* totals files in the directory */
};

enum tws_fold_condition {
	TWS_FOLD_UNKNOWN, /* could not be read now: out of memory or descriptors */
	TWS_FOLD_ABSENT,
	TWS_FOLD_DAMAGED, /* no reader can use it, now or later */
	TWS_FOLD_FOREIGN, /* no reader of this version can use it, but another version
			     could */
	TWS_FOLD_GOOD,
};

struct tws_fold_file {
	enum tws_fold_condition condition;
	uint64_t size;
};

/* Returns zeroed anonymous memory, or NULL. */
void *tws_fold_allocate(uint64_t size);
void tws_fold_release(void *memory, uint64_t size);

/* fold_read.c */
bool tws_fold_read(int fd, void *bytes, uint64_t size, uint64_t offset);

/* Opens a file and reads its header. Returns its descriptor if the file is GOOD, else -1.
 */
int tws_fold_open(int directory, const char *name, struct tws_header *ret_header,
		  struct tws_fold_file *ret_file);

/* Returns a private copy of a segment or totals file; NULL if it cannot be read or is not
 * valid. */
struct tws_header *tws_fold_read_segment(int directory, const char *name,
					 struct tws_fold_file *ret_file);

static inline void *tws_fold_section(const struct tws_header *header,
				     enum tws_section_id id)
{
	return (char *)(uintptr_t)header + header->section[id].offset;
}

static inline uint32_t tws_fold_used(const struct tws_header *header,
				     enum tws_section_id id)
{
	const struct tws_section *at = &header->section[id];

	return at->used < at->count ? at->used : at->count;
}

/* fold_scan.c: lists the segments of dead processes in the directory, oldest first, the
 * unsettled ones last: a reader may still come.
 * Removes old temporary files and unreadable segments on the way. */
#define TWS_FOLD_CANDIDATES 1024
void tws_fold_scan(struct tws_scan *scan);
void tws_fold_each_name(struct tws_scan *scan,
			void (*act)(struct tws_scan *scan, const char *name));
/* fold.c: locks a totals file that is about to be replaced or renamed. Returns its
 * descriptor; -EAGAIN if another process holds it; or why it cannot be opened. */
int tws_fold_hold(int directory, const char *name);
void tws_fold_let_go(int fd);
bool tws_fold_ends_with(const char *name, const char *suffix);

/* Returns the next candidates of one application that are due, at most TWS_FOLD_BATCH. */
uint32_t tws_fold_next(struct tws_scan *scan, const struct tws_fold_limits *limits,
		       struct tws_candidate **ret_batch);

/* fold_add.c: adds a segment, or older totals, to the totals. `index` has room for 65,536
 * destinations. */
void tws_fold_add(struct tws_header *totals, struct tws_header *header, uint16_t *index);

/* fold_slices.c: the same for what was counted when, after the open connections were
 * counted as ended. `index`: the destinations' places in the totals. */
void tws_fold_slices(struct tws_header *totals, const struct tws_header *header,
		     const uint16_t *index);

#endif
