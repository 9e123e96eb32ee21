/* SPDX-License-Identifier: MIT
 *
 * Books, and how to count in them. Every update is a single atomic word and nothing
 * waits, so a signal handler may interrupt any line here and count as well.
 */
#include "shim/book/books.h"

#include <errno.h>
#include <sys/mman.h>

#include "shim/shared/clock.h"
#include "shim/book/destinations.h"
#include "shim/book/fds.h"
#include "shim/book/history.h"
#include "shim/book/memory.h"
#include "shim/shared/hot.h"
#include "shim/shared/layout.h"
#include "shim/shared/sys.h"

#define PROBES	   32
#define RING_AHEAD 1024 /* bytes */

struct tws_book tws_books[TWS_BOOKS];
/* The first of the hot data. */
TWS_HOT_DATA struct tws_book *tws_own_book __attribute__((aligned(64)));

static uint64_t early[TWS_COUNTERS]; /* counted before there was a book */

/* Backs the first `count` elements with memory; `before` of them have it already. */
static bool back_elements(const struct tws_book *book, enum tws_section_id id,
			  uint32_t before, uint32_t count)
{
	const struct tws_section *laid = &book->section[id];
	uint64_t from = laid->offset + (uint64_t)before * laid->element_size;
	uint64_t to = laid->offset + (uint64_t)count * laid->element_size;

	return to <= book->size &&
	       tws_memory_back((char *)book->header + from, to - from);
}

/* Checks that what the file claims to be backed really is. */
static void take_ready(struct tws_book *book, const struct tws_header *layout)
{
	for (unsigned id = 0; id < TWS_SECTIONS; id++) {
		uint32_t ready = layout->section[id].ready;

		if (ready > book->section[id].count)
			ready = book->section[id].count;
		book->ready[id] =
		    ready && back_elements(book, (enum tws_section_id)id, 0, ready)
			? ready
			: 0;
	}
}

static void fill_book(struct tws_book *book, struct tws_header *header,
		      const struct tws_header *layout)
{
	char *base = (char *)header;
	const struct tws_section *section = book->section;

	__builtin_memcpy(book->section, layout->section, sizeof(book->section));
	book->size = layout->size;
	take_ready(book, layout);
	book->slices = layout->slices;
	book->slices_ready = 0; /* what is backed is backed again */
	if (tws_slices_validate(layout))
		book->slices.count = 0;
	__builtin_memset(book->reached, 0, sizeof(book->reached));
	book->full_until_ns = book->seen_ns = book->recorded_ns = 0;
	book->sweep_ns = book->policy_key = 0;
	book->made_by = 0;
	book->ended_count = section[TWS_SECTION_ENDED].count;
	book->time_wait_count = section[TWS_SECTION_TIME_WAIT].count;
	book->probe = tws_segment_probe(header, layout);
	book->process = (void *)(base + section[TWS_SECTION_PROCESS].offset);
	book->connections = (void *)(base + section[TWS_SECTION_CONNECTIONS].offset);
	book->destinations = (void *)(base + section[TWS_SECTION_DESTINATIONS].offset);
	book->arms = (void *)(base + section[TWS_SECTION_ARMS].offset);
	book->rules = (void *)(base + section[TWS_SECTION_RULES].offset);
	book->ended = (void *)(base + section[TWS_SECTION_ENDED].offset);
	book->time_wait = (void *)(base + section[TWS_SECTION_TIME_WAIT].offset);
}

/* A place is taken by storing its header pointer. The other fields follow before
 * anybody learns the index. */
int tws_book_add(void *mapping, const struct tws_header *layout)
{
	for (int i = 0; i < TWS_BOOKS; i++) {
		struct tws_header *none = NULL;

		if (__atomic_load_n(&tws_books[i].header, __ATOMIC_RELAXED) ||
		    !__atomic_compare_exchange_n(&tws_books[i].header, &none, mapping,
						 false, __ATOMIC_ACQ_REL,
						 __ATOMIC_RELAXED))
			continue;
		fill_book(&tws_books[i], mapping, layout);
		return i;
	}
	return -1;
}

void tws_book_take_early(struct tws_book *book)
{
	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		if (early[i])
			tws_add(&book->process->value[i],
				__atomic_exchange_n(&early[i], 0, __ATOMIC_ACQ_REL));
}

/* The number of elements after the next piece of memory: two pages' worth at first,
 * then doubled each time, so that a long run asks seldom and a short one uses little. */
static uint32_t next_ready(const struct tws_section *section, uint32_t ready,
			   uint32_t index)
{
	uint32_t least = 8192 / section->element_size;

	ready *= 2;
	if (ready < least)
		ready = least;
	if (ready <= index)
		ready = index + 1;
	return ready < section->count ? ready : section->count;
}

static bool back_section(struct tws_book *book, enum tws_section_id id, uint32_t index)
{
	uint32_t before = tws_book_ready(book, id);
	uint32_t ready = next_ready(&book->section[id], before, index);

	if (!back_elements(book, id, before, ready))
		return false;
	tws_raise_u32(&book->ready[id], ready);
	tws_raise_u32(&book->header->section[id].ready, ready);
	return true;
}

/* A ring is filled in order, so some records ahead are marked as used at once. A
 * record that is not written yet, or is being written, is 0. */
static uint32_t next_used(const struct tws_book *book, enum tws_section_id id,
			  uint32_t index)
{
	uint32_t ahead = RING_AHEAD / book->section[id].element_size;
	uint32_t ready = tws_book_ready(book, id);

	return ready - index < ahead ? ready : index + ahead;
}

bool tws_book_back(struct tws_book *book, enum tws_section_id id, uint32_t index)
{
	uint32_t used = index + 1;

	if (index >= book->section[id].count)
		return false;
	if (index >= tws_book_ready(book, id) && !back_section(book, id, index))
		return false;
	if (id == TWS_SECTION_ENDED || id == TWS_SECTION_TIME_WAIT)
		used = next_used(book, id, index);
	tws_raise_u32(&book->header->section[id].used, used);
	tws_raise_u32(&book->reached[id], used);
	return true;
}

void tws_book_record_again(struct tws_book *book, uint64_t now)
{
	__atomic_store_n(&book->recorded_ns, now, __ATOMIC_RELAXED);
	for (unsigned id = 0; id < TWS_SECTIONS; id++)
		tws_raise_u32(&book->header->section[id].used,
			      __atomic_load_n(&book->reached[id], __ATOMIC_RELAXED));
}

/* ----------------------------------------------------------- destinations */

/* An entry in state CLAIMED belongs to another thread, or to the code that we
 * interrupted. It is passed over; if two entries get the same address, the reader adds
 * them up. */
static bool claim(struct tws_destination *entry, const struct tws_address *address)
{
	uint32_t free_state = TWS_DESTINATION_FREE;

	if (!__atomic_compare_exchange_n(&entry->state, &free_state,
					 TWS_DESTINATION_CLAIMED, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return false;
	entry->address = *address;
	__atomic_store_n(&entry->state, TWS_DESTINATION_READY, __ATOMIC_RELEASE);
	return true;
}

uint16_t tws_index_of_hash[1024];

static TWS_COLD uint16_t append_destination(struct tws_book *book,
					    const struct tws_address *address)
{
	uint32_t used = tws_book_used(book, TWS_SECTION_DESTINATIONS);

	for (uint32_t i = used ? used : 1; i < used + PROBES && i < UINT16_MAX; i++) {
		if (!tws_book_ensure(book, TWS_SECTION_DESTINATIONS, i))
			return 0;
		if (claim(&book->destinations[i], address))
			return (uint16_t)i;
	}
	return 0;
}

uint16_t tws_book_find_destination(struct tws_book *book,
				   const struct tws_address *address, uint32_t hash)
{
	uint16_t ret;

	for (uint32_t probe = 0; probe < PROBES; probe++) {
		uint16_t *place = &tws_index_of_hash[(hash + probe) % 1024];
		uint16_t index = __atomic_load_n(place, __ATOMIC_RELAXED);

		if (tws_book_is_entry(book, index, address))
			return index;
		if (index)
			continue;
		ret = append_destination(book, address);
		__atomic_store_n(place, ret, __ATOMIC_RELAXED);
		return ret;
	}
	return 0;
}

void tws_book_lost(struct tws_book *book)
{
	unsigned index = (unsigned)(book - tws_books);
	struct tws_book *own = book;
	long ret =
	    tws_sys6(SYS_mmap, (long)(uintptr_t)book->header, (long)book->size,
		     PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (!tws_mapping(ret))
		return;
	__atomic_store_n(&book->made_by, 0, __ATOMIC_RELEASE);
	__atomic_compare_exchange_n(&tws_own_book, &own, NULL, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_RELAXED);
	for (int fd = 0; fd <= tws_fd_highest(); fd++) {
		uint32_t word = tws_fd(fd);

		if (word & TWS_FD_SLOT && (word >> 24 & (TWS_BOOKS - 1)) == index &&
		    __atomic_compare_exchange_n(tws_fd_place(fd), &word, 0, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			tws_count_process(TWS_unobserved);
	}
}

void tws_book_check(void)
{
	for (int i = 0; i < TWS_BOOKS; i++)
		if (tws_book_is_ours(&tws_books[i]) &&
		    tws_memory_read((uintptr_t)tws_books[i].probe) == -EFAULT)
			tws_book_lost(&tws_books[i]);
}

/* --------------------------------------------------------------- counting */

/* A chain of forks must not run out of places, so books of earlier ancestors are let
 * go if no descriptor leads to them. The parent's own book stays, because the code
 * that this fork interrupted may be using it. */
static void let_go_of_forebears(void)
{
	uint32_t in_use = 0;

	for (int i = 0; i < TWS_BOOKS; i++)
		in_use |= (uint32_t)tws_book_is_ours(&tws_books[i]) << i;
	for (int fd = 0; fd <= tws_fd_highest(); fd++)
		if (tws_fd(fd) & TWS_FD_SLOT)
			in_use |= 1u << (tws_fd(fd) >> 24 & (TWS_BOOKS - 1));
	for (int i = 0; i < TWS_BOOKS; i++)
		if (tws_books[i].header && !(in_use >> i & 1)) {
			tws_sys2(SYS_munmap, tws_books[i].header, tws_books[i].size);
			tws_books[i].header = NULL;
		}
}

void tws_books_forked(void)
{
	let_go_of_forebears();
	for (int i = 0; i < TWS_BOOKS; i++)
		tws_books[i].made_by = 0;
	tws_own_book = NULL;
	__builtin_memset(early, 0, sizeof(early));
	__builtin_memset(tws_index_of_hash, 0, sizeof(tws_index_of_hash));
}

void tws_count_process(enum tws_counter counter)
{
	struct tws_book *own = __atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE);
	uint64_t now = tws_now();

	if (own) {
		tws_history_note_process(own, now);
		__atomic_store_n(&own->header->heartbeat_ns, now, __ATOMIC_RELAXED);
	}
	tws_add(own ? &own->process->value[counter] : &early[counter], 1);
}
