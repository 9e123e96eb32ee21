/* SPDX-License-Identifier: MIT
 *
 * Asks the kernel about memory before it is touched. A file that is truncated, or a
 * tmpfs that is full, would raise SIGBUS in the client; a pointer of the program's that
 * leads nowhere would raise SIGSEGV. Asked in this way, they are only an error.
 */
#ifndef TWS_SHIM_MEMORY_H
#define TWS_SHIM_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/shared/hot.h"

#define TWS_PAGE 4096u /* the smallest page size there is */

/* Reads the word that holds this byte, in the kernel: 0, or -EFAULT if it cannot be
 * read. Another error says nothing about the memory. One system call. */
TWS_COLD long tws_memory_read(uintptr_t at);

/* Backs `size` bytes of a shared mapping, so that writing to them raises no SIGBUS, and
 * leaves their content as it is. False: there is no memory for them. */
TWS_COLD bool tws_memory_back(void *from, uint64_t size);

#endif
