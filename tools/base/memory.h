/* SPDX-License-Identifier: MIT
 *
 * For commands that hold the host's sockets in memory for a moment: most of their own
 * time goes into the first touch of each page.
 */
#ifndef TWS_TOOLS_MEMORY_H
#define TWS_TOOLS_MEMORY_H

/* From now on malloc() takes from one region of huge pages, where the system grants them
 * (else nothing changes). Call it once, before much is allocated. */
void memory_prefer_huge_pages(void);

#endif
