/* SPDX-License-Identifier: MIT
 *
 * The segments that this process writes: its own, and those of the processes that handed
 * it connections (a forking parent's, a former image's). Own: shim/book/publish.c makes
 * it, at the first connection. All fields of a book are set before it is published and
 * never change, save those that are atomic.
 */
#ifndef TWS_SHIM_BOOKS_H
#define TWS_SHIM_BOOKS_H

#include <stddef.h>

#include "shim/shared/hot.h"
#include "shim/shared/segment.h"

#define TWS_BOOKS 16

struct tws_book {
	/* What every connection needs: two lines of the cache. */
	struct tws_header *header; /* NULL: no book */
	uint32_t *probe; /* the last word of the file: 8, see tws_conn_cookie() */
	struct tws_counters *process;
	struct tws_connection *connections;
	struct tws_destination *destinations;
	struct tws_ended *ended;
	uint64_t *time_wait;
	uint32_t ended_count; /* of the rings, as in section[] */
	uint32_t time_wait_count;
	uint32_t ready[TWS_SECTIONS];	/* atomic; elements backed by memory */
	uint32_t reached[TWS_SECTIONS]; /* atomic; of these, recorded as used by us */
	/* Atomic; when the file was last seen whole, see fresh.h. */
	uint64_t seen_ns;
	uint64_t recorded_ns; /* atomic; see tws_book_recall() */
	/* Atomic; all slots were found taken: until when that is believed. 0: one was let
	 * go since. */
	uint64_t full_until_ns;
	/* Atomic; when connections that were left to other processes may be looked at
	 * again, so that no peak counts those that have ended. 0: none was ever left. */
	uint64_t sweep_ns;
	/* 1 + the user as whom this process made the segment; 0: another process made it,
	 * or its file was cut. */
	uint64_t made_by;
	/* What we laid out, in private memory: what stands in the file since then,
	 * anybody of our user may have changed. */
	struct tws_section section[TWS_SECTIONS];
	uint64_t size;
	struct tws_arm *arms;
	struct tws_rule_status *rules;
} __attribute__((aligned(512))); /* a power of two: found by a shift */

TWS_OURS extern struct tws_book tws_books[TWS_BOOKS];
TWS_OURS extern struct tws_book *tws_own_book; /* atomic; NULL: none yet */

/* Whether this process made the segment, be it as the user that it is now or as another
 * one that it was before: a connection stays where it began. */
static inline bool tws_book_is_ours(const struct tws_book *book)
{
	return __atomic_load_n(&book->made_by, __ATOMIC_RELAXED) != 0;
}

/* Fills a free place with a mapped segment, `layout` a private and validated copy of its
 * header; its index, or -1. */
int tws_book_add(void *mapping, const struct tws_header *layout);

static inline void tws_raise_u32(uint32_t *maximum, uint32_t value)
{
	uint32_t old = __atomic_load_n(maximum, __ATOMIC_RELAXED);

	while (old < value &&
	       !__atomic_compare_exchange_n(maximum, &old, value, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

/* Slow half of tws_book_reach(). */
TWS_COLD bool tws_book_back(struct tws_book *book, enum tws_section_id id,
			    uint32_t index);

/* Elements that may be touched: another one could raise SIGBUS. What the file says of it
 * is not believed. */
static inline uint32_t tws_book_ready(const struct tws_book *book, enum tws_section_id id)
{
	return __atomic_load_n(&book->ready[id], __ATOMIC_RELAXED);
}

/* Sees to it that elements 0 to index of a section are backed by memory, so that touching
 * them can raise no SIGBUS, and records them as used. False: there is no memory for them.
 */
static inline bool tws_book_reach(struct tws_book *book, enum tws_section_id id,
				  uint32_t index)
{
	return tws_likely(index <
			  __atomic_load_n(&book->reached[id], __ATOMIC_RELAXED)) ||
	       tws_book_back(book, id, index);
}

/* Slow half of tws_book_recall(). */
TWS_COLD void tws_book_record_again(struct tws_book *book, uint64_t now);

/* What is recorded as used somebody of our user may overwrite: it is recorded again, once
 * a second. */
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

/* The file of a book was cut: puts empty private memory in its place, since other threads
 * may be in it, and forgets what led there. The next connection gets a new segment. */
TWS_COLD void tws_book_lost(struct tws_book *book);

/* Looks whether the file of a book of ours was cut; one system call for each. For the
 * rare steps that ask nothing of a socket before they touch the book. */
TWS_COLD void tws_book_check(void);

/* The destination's entry, made if there is room; else 0, `other`. */
TWS_OURS uint16_t tws_book_destination(struct tws_book *book,
				       const struct tws_address *address);

static inline void tws_add(uint64_t *value, uint64_t amount)
{
	__atomic_fetch_add(value, amount, __ATOMIC_RELEASE);
}

static inline void tws_raise(uint64_t *maximum, uint64_t value)
{
	uint64_t old = __atomic_load_n(maximum, __ATOMIC_RELAXED);

	while (tws_unlikely(old < value) &&
	       !__atomic_compare_exchange_n(maximum, &old, value, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

static inline void tws_histogram_add(struct tws_counters *counters,
				     enum tws_histogram_id id, uint64_t nanoseconds)
{
	struct tws_histogram *histogram = &counters->histogram[id];
	uint64_t microseconds = nanoseconds / 1000;

	tws_add(&histogram->count[tws_histogram_bucket(id, microseconds)], 1);
	tws_add(&histogram->sum, microseconds);
}

/* Adds to the own book, just made, what was counted before there was one. */
void tws_book_take_early(struct tws_book *book);

/* In a forked child: the own book is the parent's and stays so; this one has none yet. */
void tws_books_forked(void);

/* Counts what belongs to no destination; makes no book for it. */
TWS_COLD void tws_count_process(enum tws_counter counter);

#endif
