/* SPDX-License-Identifier: MIT
 *
 * Limits the time of each request: otherwise a client that sends or reads one byte now
 * and then could hold its connection for ever. When few places are left, the connections
 * that have been at one request longest are ended first, so that a crowd of idle
 * connections cannot keep others out. The server's thread calls begin and end; another
 * thread calls look.
 */
#ifndef TWS_TOOLS_WEB_DEADLINE_H
#define TWS_TOOLS_WEB_DEADLINE_H

#include <stdint.h>

#define WEB_CONNECTIONS 64
#define WEB_ROOM	16 /* places to keep free */
#define WEB_REQUEST_MS	30000

/* A connection has begun, or has answered a request and may send another. */
void web_deadline_begin(int fd);

/* A connection is about to be closed. */
void web_deadline_end(int fd);

/* Shuts down connections whose time is over. */
void web_deadline_look(void);

#endif
