/* SPDX-License-Identifier: MIT
 *
 * Where a destination is counted. Entries are filled from 1 upwards, so a process with
 * few destinations touches little memory. An index in private memory finds them again. An
 * address is handled as three words: a processor waits where it reads as one what was
 * just written in parts.
 */
#ifndef TWS_SHIM_DESTINATIONS_H
#define TWS_SHIM_DESTINATIONS_H

#include "shim/book/books.h"

TWS_OURS extern uint16_t tws_index_of_hash[1024]; /* atomic */

/* One of an address's three words; the reserved bytes in them are 0. */
static inline uint64_t tws_address_word(const struct tws_address *address, unsigned index)
{
	uint64_t ret;

	__builtin_memcpy(&ret, (const char *)address + 8 * index, sizeof(ret));
	return ret;
}

/* Ten bits, to which each of the words contributes. */
static inline uint32_t tws_address_hash(const struct tws_address *address)
{
	uint64_t host = tws_address_word(address, 1), port = tws_address_word(address, 2);

	host = host << 29 | host >> 35;
	port = port << 43 | port >> 21;
	return (uint32_t)((tws_address_word(address, 0) ^ host ^ port) *
			      0x9e3779b97f4a7c15u >>
			  54);
}

static inline bool tws_address_same(const struct tws_address *a,
				    const struct tws_address *b)
{
	return !((tws_address_word(a, 0) ^ tws_address_word(b, 0)) |
		 (tws_address_word(a, 1) ^ tws_address_word(b, 1)) |
		 (tws_address_word(a, 2) ^ tws_address_word(b, 2)));
}

/* Sets the three words. The lowest byte of each is the first. */
static inline void tws_address_set(struct tws_address *address, uint64_t first,
				   uint64_t second, uint64_t third)
{
	const uint64_t words[3] = {first, second, third};

	__builtin_memcpy(address, words, sizeof(words));
}

static inline bool tws_book_is_entry(struct tws_book *book, uint32_t index,
				     const struct tws_address *address)
{
	struct tws_destination *entry = &book->destinations[index];

	return index && index < tws_book_ready(book, TWS_SECTION_DESTINATIONS) &&
	       __atomic_load_n(&entry->state, __ATOMIC_ACQUIRE) ==
		   TWS_DESTINATION_READY &&
	       tws_address_same(&entry->address, address);
}

/* The destination is not at its first place in the index. */
TWS_COLD uint16_t tws_book_find_destination(struct tws_book *book,
					    const struct tws_address *address,
					    uint32_t hash);

/* The entry of a destination, made if there is room; otherwise 0, which is `other`. */
static inline uint16_t tws_book_destination(struct tws_book *book,
					    const struct tws_address *address)
{
	uint32_t hash = tws_address_hash(address);
	uint16_t index = __atomic_load_n(&tws_index_of_hash[hash], __ATOMIC_RELAXED);

	return tws_likely(tws_book_is_entry(book, index, address))
		   ? index
		   : tws_book_find_destination(book, address, hash);
}

#endif
