/* SPDX-License-Identifier: MIT
 *
 * TWS_HOT marks the functions that run for every connection. The compiler places them
 * side by side, in two or three pages instead of fifteen. After connect() the caches are
 * full of the kernel's network code, so every page and line that has to be fetched again
 * costs time.
 */
#ifndef TWS_SHIM_HOT_H
#define TWS_SHIM_HOT_H

#define TWS_HOT __attribute__((hot))

/* For functions that are seldom called: the compiler moves the branches to them out of
 * the straight line. */
#define TWS_COLD __attribute__((cold, noinline))

#define tws_likely(condition)	__builtin_expect(!!(condition), 1)
#define tws_unlikely(condition) __builtin_expect(!!(condition), 0)

/* Inlined into the straight line, wherever else it is called from. */
#define TWS_ALWAYS_INLINE __attribute__((always_inline))

/* Hidden at its declaration, so that it is reached directly and not through the table
 * of symbols that other libraries may replace. */
#define TWS_OURS __attribute__((visibility("hidden")))

/* Single words that are read for every connection share one cache line. */
#define TWS_HOT_DATA __attribute__((section(".tws_hot")))

#endif
