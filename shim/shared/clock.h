/* SPDX-License-Identifier: MIT
 *
 * The time, from the kernel's page in every process (vdso(7)) and past libc: its
 * clock_gettime() may be another preload's, which tells the client another time, and what
 * we write is compared with that of other processes.
 */
#ifndef TWS_SHIM_CLOCK_H
#define TWS_SHIM_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "shim/shared/hot.h"

/* As clock_gettime(2), without errno. A system call until tws_clock_begin() has found the
 * kernel's page, and for ever where there is none. */
TWS_OURS extern int (*tws_clock)(clockid_t clock, struct timespec *ret_time);

/* Looks for it: no lock, no allocation, no system call. */
void tws_clock_begin(void);

/* CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t tws_now(void)
{
	struct timespec now;

	tws_clock(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The same in seconds. */
static inline double tws_now_s(void)
{
	return (double)tws_now() / 1e9;
}

#endif
