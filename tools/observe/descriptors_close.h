/* SPDX-License-Identifier: MIT
 *
 * For a process that outlives the one that it was forked from.
 */
#ifndef TWS_TOOLS_OBSERVE_DESCRIPTORS_CLOSE_H
#define TWS_TOOLS_OBSERVE_DESCRIPTORS_CLOSE_H

#include <stddef.h>

/* Closes every descriptor but these, which become close-on-exec, and has 0, 1 and 2 lead
 * nowhere. Sorts the list. */
void descriptors_close_others(int *wanted, size_t count);

#endif
