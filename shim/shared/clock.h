/* SPDX-License-Identifier: MIT
 *
 * The time, from the kernel's page in every process (vdso(7)) and not from libc. libc's
 * clock_gettime() may be replaced by another preload that tells the client another time,
 * but what the shim writes is compared with the times of other processes.
 */
#ifndef TWS_SHIM_CLOCK_H
#define TWS_SHIM_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "shim/shared/hot.h"

/* Like clock_gettime(2), but it leaves errno alone. It is a system call until
 * tws_clock_begin() has found the kernel's page, and always if there is none. */
TWS_OURS extern int (*tws_clock)(clockid_t clock, struct timespec *ret_time);

/* Looks for the page. Takes no lock, allocates nothing, and makes no system call. */
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
