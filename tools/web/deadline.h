/* SPDX-License-Identifier: MIT
 *
 * A time by which each request must be over: a client that sends or reads a byte now and
 * then would hold its connection for ever. And where most places are taken, those go
 * first that have been at one request longest, so that a crowd that asks nothing keeps
 * nobody out. The server's thread notes, another looks.
 */
#ifndef TWS_TOOLS_WEB_DEADLINE_H
#define TWS_TOOLS_WEB_DEADLINE_H

#include <stdint.h>

#define WEB_CONNECTIONS 64
#define WEB_ROOM	16 /* places that are kept free */
#define WEB_REQUEST_MS	30000

/* A connection began, or has answered a request and may send another. */
void web_deadline_begin(int fd);

/* A connection is about to be closed. */
void web_deadline_end(int fd);

/* Shuts down what is over its time. */
void web_deadline_look(void);

#endif
