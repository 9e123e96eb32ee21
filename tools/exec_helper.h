/* SPDX-License-Identifier: MIT
 *
 * twshim as the helper of shim/shared/helper.h: executed by the shim in the place of
 * a program that the shim does not reach.
 */
#ifndef TWS_TOOLS_EXEC_HELPER_H
#define TWS_TOOLS_EXEC_HELPER_H

/* If this process is to be another program, becomes it; returns an exit status if that
 * program can't be started. -1: it is twshim itself. To be called before anything else,
 * because the program gets what the process has. */
int exec_helper(char *const *argv);

#endif
