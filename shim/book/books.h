/* SPDX-License-Identifier: MIT
 *
 * The segments that this process writes: its own, and those of the processes that handed
 * it connections (a parent that forked it, or a former image). publish.c makes the
 * process's own at its first connection. All fields of a book are set before the book is
 * published, and do not change afterwards unless they are atomic.
 */
#ifndef TWS_SHIM_BOOKS_H
#define TWS_SHIM_BOOKS_H

#include <stddef.h>

#include "shim/book/single.h"
#include "shim/shared/hot.h"
#include "shim/shared/segment.h"

#define TWS_BOOKS 16

struct tws_book {
	/* The fields that every connection needs, in two cache lines. */
	struct tws_header *header; /* NULL: no book */
	uint32_t *probe;	   /* at the end of the file: 8, see tws_conn_cookie() */
	struct tws_counters *process;
	struct tws_connection *connections;
	struct tws_destination *destinations;
	struct tws_ended *ended;
	uint64_t *time_wait;
	uint32_t ended_count; /* sizes of the rings, as in section[] */
	uint32_t time_wait_count;
	uint32_t ready[TWS_SECTIONS];	/* atomic; elements backed by memory */
	uint32_t reached[TWS_SECTIONS]; /* atomic; elements that we have marked as used */
	/* Atomic; when the file was last seen whole. See fresh.h. */
	uint64_t seen_ns;
	uint64_t recorded_ns; /* atomic; see tws_book_recall() */
	/* Atomic; until when all slots are taken to be in use. 0: one has become free. */
	uint64_t full_until_ns;
	/* Atomic; when connections that were left to other processes may be looked at
	 * again, so that no peak counts those that have ended. 0: none was ever left. */
	uint64_t sweep_ns;
	/* 1 + the user as whom this process made the segment; 0: another process made
	 * it, or its file was truncated. */
	uint64_t made_by;
	uint64_t policy_key; /* tws_policy_key() of the settings in its header; 0: none */
	/* The layout, in private memory: any process of our user may have changed what
	 * is in the file. */
	struct tws_section section[TWS_SECTIONS];
	uint64_t size;
	struct tws_section slices; /* count 0: another version made it, without */
	uint32_t slices_ready;	   /* atomic; as ready[] */
	struct tws_arm *arms;
	struct tws_rule_status *rules;
} __attribute__((aligned(512))); /* a power of two: found by a shift */

TWS_OURS extern struct tws_book tws_books[TWS_BOOKS];
TWS_OURS extern struct tws_book *tws_own_book; /* atomic; NULL: none yet */

/* Whether this process made the segment, as its present user or as an earlier one. A
 * connection stays in the book where it began. */
static inline bool tws_book_is_ours(const struct tws_book *book)
{
	return __atomic_load_n(&book->made_by, __ATOMIC_RELAXED) != 0;
}

/* Enters a mapped segment into a free place. `layout` is a private and validated copy
 * of its header. Returns the index, or -1. */
int tws_book_add(void *mapping, const struct tws_header *layout);

static inline void tws_raise_u32(uint32_t *maximum, uint32_t value)
{
	uint32_t old = __atomic_load_n(maximum, __ATOMIC_RELAXED);

	while (old < value &&
	       !__atomic_compare_exchange_n(maximum, &old, value, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

/* Slow half of tws_book_ensure(). */
TWS_COLD bool tws_book_back(struct tws_book *book, enum tws_section_id id,
			    uint32_t index);

/* The number of elements that may be touched; touching another one could raise SIGBUS.
 * What the file says about this is not believed. */
static inline uint32_t tws_book_ready(const struct tws_book *book, enum tws_section_id id)
{
	return __atomic_load_n(&book->ready[id], __ATOMIC_RELAXED);
}

/* Backs elements 0 to index of a section with memory, so that touching them cannot
 * raise SIGBUS, and marks them as used. False: there is no memory for them. */
static inline bool tws_book_ensure(struct tws_book *book, enum tws_section_id id,
				   uint32_t index)
{
	return tws_likely(index <
			  __atomic_load_n(&book->reached[id], __ATOMIC_RELAXED)) ||
	       tws_book_back(book, id, index);
}

/* Slow half of tws_book_recall(). */
TWS_COLD void tws_book_record_again(struct tws_book *book, uint64_t now);

/* Another process of our user may overwrite the marks of used elements, so they are
 * written again once a second. */
static inline void tws_book_recall(struct tws_book *book, uint64_t now)
{
	if (tws_unlikely(now - __atomic_load_n(&book->recorded_ns, __ATOMIC_RELAXED) >
			 1000000000u))
		tws_book_record_again(book, now);
}

static inline uint32_t tws_book_used(const struct tws_book *book, enum tws_section_id id)
{
	uint32_t used =
	    __atomic_load_n(&book->header->section[id].used, __ATOMIC_ACQUIRE);
	uint32_t ready = tws_book_ready(book, id);

	return used < ready ? used : ready;
}

/* The file of a book was truncated. Puts empty private memory in its place, because
 * other threads may be using it, and removes all descriptors that lead there. The next
 * connection gets a new segment. */
TWS_COLD void tws_book_lost(struct tws_book *book);

/* Checks whether the file of any of our books was truncated; one system call for each.
 * For the rare steps that ask nothing about a socket before they touch a book. */
TWS_COLD void tws_book_check(void);

static inline void tws_raise(uint64_t *maximum, uint64_t value)
{
	uint64_t old = __atomic_load_n(maximum, __ATOMIC_RELAXED);

	while (tws_unlikely(old < value) &&
	       !__atomic_compare_exchange_n(maximum, &old, value, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

static inline void tws_histogram_add(bool single, struct tws_counters *counters,
				     enum tws_histogram_id id, uint64_t nanoseconds)
{
	struct tws_histogram *histogram = &counters->histogram[id];
	uint64_t microseconds = nanoseconds / 1000;

	tws_add_as(single, &histogram->count[tws_histogram_bucket(id, microseconds)], 1);
	tws_add_as(single, &histogram->sum, microseconds);
}

/* Adds to the own book, just made, what was counted before there was one. */
void tws_book_take_early(struct tws_book *book);

/* To be called in a forked child: the own book stays the parent's, and the child has
 * none yet. */
void tws_books_forked(void);

/* Counts what belongs to no destination. Makes no book for it. */
TWS_COLD void tws_count_process(enum tws_counter counter);

#endif
