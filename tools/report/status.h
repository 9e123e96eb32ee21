/* SPDX-License-Identifier: MIT
 *
 * What `twshim` alone prints on a terminal: the verdict, the programs that own most
 * TIME_WAIT sockets, and what to type next.
 */
#ifndef TWS_TOOLS_STATUS_H
#define TWS_TOOLS_STATUS_H

#include <stdbool.h>

/* Prints to stdout. Returns the exit status. */
int status_print(bool color);

#endif
