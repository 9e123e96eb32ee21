/* SPDX-License-Identifier: MIT
 *
 * TWS_HOT marks what runs for every connection. The compiler puts these functions side by
 * side, in two or three pages instead of fifteen: after connect() the caches hold the
 * kernel's network code and nothing of ours, so what is fetched anew is what it costs.
 */
#ifndef TWS_SHIM_HOT_H
#define TWS_SHIM_HOT_H

#define TWS_HOT __attribute__((hot))

#endif
