/* SPDX-License-Identifier: MIT
 *
 * `make coverage` alone: what was counted so far is written out where a process is about
 * to be no more, or its memory another image's. In every other build: nothing.
 */
#ifndef TWS_SHIM_COVERAGE_H
#define TWS_SHIM_COVERAGE_H

#ifdef TWS_COVERAGE
void __gcov_dump(void);
void __gcov_reset(void);
#define tws_coverage_save() (__gcov_dump(), __gcov_reset())
#else
#define tws_coverage_save() ((void)0)
#endif

#endif
