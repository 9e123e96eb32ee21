/* SPDX-License-Identifier: MIT
 *
 * TWS_HOT marks what runs for every connection. The compiler puts these functions side by
 * side, in two or three pages instead of fifteen: after connect() the caches hold the
 * kernel's network code and nothing of ours, so what is fetched anew is what it costs.
 */
#ifndef TWS_SHIM_HOT_H
#define TWS_SHIM_HOT_H

#define TWS_HOT __attribute__((hot))

/* What is seldom called: the compiler lays the way to it beside the straight line. */
#define TWS_COLD __attribute__((cold, noinline))

#define tws_likely(condition)	__builtin_expect(!!(condition), 1)
#define tws_unlikely(condition) __builtin_expect(!!(condition), 0)

/* On the straight line, wherever else it is called from. */
#define TWS_ALWAYS_INLINE __attribute__((always_inline))

/* Ours alone, said where it is declared: it is reached straight and not through the table
 * of what other libraries may replace. */
#define TWS_OURS __attribute__((visibility("hidden")))

/* Single words that are looked at for every connection stand together in one line. */
#define TWS_HOT_DATA __attribute__((section(".tws_hot")))

#endif
