/* SPDX-License-Identifier: MIT
 *
 * For commands that hold the host's sockets in memory for a short time: touching each
 * page for the first time takes most of their own time.
 */
#ifndef TWS_TOOLS_MEMORY_H
#define TWS_TOOLS_MEMORY_H

/* From now on malloc() uses one region of huge pages, if the system grants them;
 * otherwise nothing changes. To be called once, before much is allocated. */
void memory_prefer_huge_pages(void);

#endif
