/* SPDX-License-Identifier: MIT
 *
 * How a program that the shim does not reach comes to the supervisor of its run: where
 * one is to be executed, the shim executes the helper instead, which is twshim itself,
 * and tells it the program. The helper keeps arguments, environment and pid, hands the
 * program's connect() calls over, and executes it. Of a program that gains privileges it
 * only says that it is not observed.
 */
#ifndef TWS_HELPER_H
#define TWS_HELPER_H

#define TWS_HELPER	  "TWSHIM_SUPERVISOR" /* variable: the helper's path */
#define TWS_HELPER_TARGET "TWSHIM_EXEC"	      /* variable: the program, for the helper */
#define TWS_HELPER_DOOR	  "supervisor.sock"   /* in the directory of the run */

#define TWS_HELPER_TARGET_SIZE 512 /* of the variable; a longer path is left alone */

#endif
