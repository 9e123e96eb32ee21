/* SPDX-License-Identifier: MIT
 *
 * Arrays that grow by one element at a time. Their room follows from their count, so
 * that it need not be kept: at least 8, otherwise the next power of two.
 */
#ifndef TWS_TOOLS_ARRAY_H
#define TWS_TOOLS_ARRAY_H

#include <stddef.h>

/* Makes room for an element behind the `count` of an array (NULL: there is none yet) that
 * was only ever made here. Returns the array, which may have moved. NULL: out of memory,
 * and the old array is still there. */
void *array_grow(void *array, size_t count, size_t element_size);

#endif
