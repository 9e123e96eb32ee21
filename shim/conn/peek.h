/* SPDX-License-Identifier: MIT
 *
 * Reading the program's memory before the kernel has: a pointer that cannot be read must
 * give EFAULT there, and not SIGSEGV here. These ask the kernel first, at one system call
 * for each page. They are for where a policy needs an address before the call, and where
 * a call failed. What the kernel has just read needs no question.
 */
#ifndef TWS_SHIM_PEEK_H
#define TWS_SHIM_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/shared/hot.h"

/* Whether all of these bytes can be read now. */
TWS_COLD bool tws_peek_may(const void *from, size_t size);

/* Copies them. False: they cannot be read. */
TWS_COLD bool tws_peek(void *to, const void *from, size_t size);

/* For a walk: whether this byte can be read, `*page` being the last one asked about (0:
 * none yet), which is not asked about again. */
TWS_COLD bool tws_peek_next(uintptr_t *page, const void *at);

#endif
