/* SPDX-License-Identifier: MIT
 *
 * Changes of single words that others may be changing at the same moment. For that, an
 * x86-64 processor locks the word, which also stops it from working ahead: with 25
 * changes per connection, that was a third of what the shim itself costs. While only one
 * thread can write to the own book, the same instructions do without the lock. A signal
 * handler comes before or after an instruction, and never into the middle of one.
 */
#ifndef TWS_SHIM_SINGLE_H
#define TWS_SHIM_SINGLE_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/shared/hot.h"

/* libc's own mark that there is one thread, which pthread_create() clears before it makes
 * another; or a byte that is 0. */
TWS_OURS extern const char *tws_single_mark; /* atomic */

/* The own book was just made. From here on, words are changed without the lock if the
 * process has one thread, made no child by fork that could write to the same book, and
 * holds no connection in the book of another process. */
void tws_single_begin(void);

/* To be called before a fork, or a clone that shares memory. The process uses the lock
 * from then on. */
void tws_single_end(void);

/* To be called in a forked child: it has no children yet. */
void tws_single_forked(void);

#if defined(__x86_64__)
#define TWS_CAN_BE_SINGLE 1
static inline bool tws_is_single(void)
{
	return tws_likely(*__atomic_load_n(&tws_single_mark, __ATOMIC_RELAXED) != 0);
}
#else /* other processors have no such instructions, or lock cheaply */
#define TWS_CAN_BE_SINGLE 0
static inline bool tws_is_single(void)
{
	return false;
}
#endif

/* The functions below are told by `single` what tws_is_single() has just said: a step
 * that changes many words asks once. No thread or child can be made within a step. */

/* *value += amount; returns the former value. */
static inline uint64_t tws_fetch_add(bool single, uint64_t *value, uint64_t amount)
{
#if TWS_CAN_BE_SINGLE
	if (tws_likely(single)) {
		__asm__ volatile("xaddq %0, %1"
				 : "+r"(amount), "+m"(*value)
				 :
				 : "memory", "cc");
		return amount;
	}
#endif
	return __atomic_fetch_add(value, amount, __ATOMIC_ACQ_REL);
}

static inline void tws_add_as(bool single, uint64_t *value, uint64_t amount)
{
#if TWS_CAN_BE_SINGLE
	if (tws_likely(single)) {
		__asm__ volatile("addq %1, %0"
				 : "+m"(*value)
				 : "er"(amount)
				 : "memory", "cc");
		return;
	}
#endif
	__atomic_fetch_add(value, amount, __ATOMIC_RELEASE);
}

static inline void tws_add(uint64_t *value, uint64_t amount)
{
	tws_add_as(tws_is_single(), value, amount);
}

/* Puts `to` in the place of `from`. False: something else is there. */
static inline bool tws_swap_u64(bool single, uint64_t *place, uint64_t from, uint64_t to)
{
#if TWS_CAN_BE_SINGLE
	bool swapped = false;

	if (tws_likely(single)) {
		__asm__ volatile("cmpxchgq %3, %1"
				 : "=@ccz"(swapped), "+m"(*place), "+a"(from)
				 : "r"(to)
				 : "memory");
		return swapped;
	}
#endif
	return __atomic_compare_exchange_n(place, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

/* Puts `to` in the place of `from`. Returns what was there. */
static inline uint16_t tws_swap_u16(bool single, uint16_t *place, uint16_t from,
				    uint16_t to)
{
#if TWS_CAN_BE_SINGLE
	if (tws_likely(single)) {
		__asm__ volatile("cmpxchgw %2, %0"
				 : "+m"(*place), "+a"(from)
				 : "r"(to)
				 : "memory", "cc");
		return from;
	}
#endif
	__atomic_compare_exchange_n(place, &from, to, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_ACQUIRE);
	return from;
}

static inline bool tws_swap_u32(bool single, uint32_t *place, uint32_t from, uint32_t to)
{
#if TWS_CAN_BE_SINGLE
	bool swapped = false;

	if (tws_likely(single)) {
		__asm__ volatile("cmpxchgl %3, %1"
				 : "=@ccz"(swapped), "+m"(*place), "+a"(from)
				 : "r"(to)
				 : "memory");
		return swapped;
	}
#endif
	return __atomic_compare_exchange_n(place, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

/* Clears one bit. Returns whether it was set. */
static inline bool tws_clear_bit(bool single, uint32_t *word, uint32_t bit)
{
#if TWS_CAN_BE_SINGLE
	bool was = false;

	if (tws_likely(single)) {
		__asm__ volatile("btrl %2, %1"
				 : "=@ccc"(was), "+m"(*word)
				 : "Ir"(__builtin_ctz(bit))
				 : "memory");
		return was;
	}
#endif
	return __atomic_fetch_and(word, ~bit, __ATOMIC_ACQ_REL) & bit;
}

#endif
