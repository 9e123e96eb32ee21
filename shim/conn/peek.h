/* SPDX-License-Identifier: MIT
 *
 * Reads the program's memory before the kernel has done so. A pointer that cannot be
 * read must give EFAULT in the kernel, and not SIGSEGV here. These functions ask the
 * kernel first, with one system call per page. They are for the case where a policy
 * needs an address before the call, and for calls that failed. Memory that the kernel
 * has just read needs no question.
 */
#ifndef TWS_SHIM_PEEK_H
#define TWS_SHIM_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/shared/hot.h"

/* Whether all of these bytes can be read now. */
TWS_COLD bool tws_peek_may(const void *from, size_t size);

/* Copies these bytes. False: they cannot be read. */
TWS_COLD bool tws_peek(void *to, const void *from, size_t size);

/* For walking through memory: whether this byte can be read. `*page` is the page that
 * was last asked about (0: none), which is not asked about again. */
TWS_COLD bool tws_peek_next(uintptr_t *page, const void *at);

#endif
