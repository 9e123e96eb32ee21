/* SPDX-License-Identifier: MIT
 *
 * What this process is called. The loader's arguments are kept at the start, which costs
 * no system call; the names are made from them when the segment is made.
 */
#ifndef TWS_SHIM_OWN_NAMES_H
#define TWS_SHIM_OWN_NAMES_H

#include "shim/shared/segment.h"

/* Takes what a constructor is given; a libc other than glibc passes something else. */
void tws_own_names_begin(int argc, char **argv);

/* Fills ret_names except the parent, which is left alone. Three system calls, and three
 * more where the loader's arguments are not known. */
void tws_own_names(struct tws_names *ret_names, const char *exe);

#endif
