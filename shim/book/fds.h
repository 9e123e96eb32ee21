/* SPDX-License-Identifier: MIT
 *
 * The descriptor table: one private word for each descriptor. 0 means that the descriptor
 * is not a connection of ours, which is the answer for almost every close(). Otherwise
 * the word is a TCP socket that is not connected yet, with what the program set on it, or
 * a reference to a slot in a book. All functions are async-signal-safe.
 */
#ifndef TWS_SHIM_FDS_H
#define TWS_SHIM_FDS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/book/single.h"
#include "shim/shared/hot.h"

#define TWS_FDS (1u << 20)

/* Bits of a table word. The flags of a socket are those of enum tws_conn_flag. */
#define TWS_FD_SLOT   0x80000000u /* book in bits 24 to 27, slot in bits 0 to 23 */
#define TWS_FD_SOCKET 0x40000000u /* a TCP socket; flags in bits 0 to 29 */
#define TWS_FD_FLAGS  0x3fffffffu

TWS_OURS extern uint32_t tws_fds[TWS_FDS];

/* The place of the word of a descriptor below TWS_FDS. The words of neighbouring
 * descriptors are in different cache lines of the same page, so that threads that use
 * them do not pass one line between their cores. */
static inline uint32_t *tws_fd_place(int fd)
{
	unsigned at = (unsigned)fd;

	return &tws_fds[at ^ (at & 63) << 4];
}

/* The word of a descriptor, or 0 if the number is out of range. */
static inline uint32_t tws_fd(int fd)
{
	return tws_likely((unsigned)fd < TWS_FDS)
		   ? __atomic_load_n(tws_fd_place(fd), __ATOMIC_RELAXED)
		   : 0;
}

/* The highest descriptor that was ever set, for loops over all; -1: none. */
TWS_OURS extern int tws_fds_highest; /* atomic */
static inline int tws_fd_highest(void)
{
	return __atomic_load_n(&tws_fds_highest, __ATOMIC_RELAXED);
}

TWS_COLD void tws_fd_raise_highest(int fd);

static inline void tws_fd_set(int fd, uint32_t word)
{
	if (tws_unlikely((unsigned)fd >= TWS_FDS))
		return;
	__atomic_store_n(tws_fd_place(fd), word, __ATOMIC_RELEASE);
	if (tws_unlikely(tws_fd_highest() < fd) && word)
		tws_fd_raise_highest(fd);
}

/* Replaces `old` by `word`. False: another thread has changed it. */
static inline bool tws_fd_replace(int fd, uint32_t old, uint32_t word)
{
	if (tws_unlikely(!tws_swap_u32(tws_is_single(), tws_fd_place(fd), old, word)))
		return false;
	if (tws_unlikely(tws_fd_highest() < fd))
		tws_fd_raise_highest(fd);
	return true;
}

#endif
