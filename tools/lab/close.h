/* SPDX-License-Identifier: MIT
 *
 * The situations of the experiments `close` and `link`, with the titles of their tables.
 */
#ifndef TWS_TOOLS_LAB_CLOSE_H
#define TWS_TOOLS_LAB_CLOSE_H

#include "tools/lab/result.h"

#define CLOSE_IDLE	"we close first, nothing in flight"
#define CLOSE_IN_FLIGHT "we close first, 100,000 bytes in flight to a slow reader"
#define CLOSE_ACKNOWLEDGED                                                               \
	"we close first, 20,000 bytes acknowledged, unread by a peer that gives up on "  \
	"error"
#define CLOSE_PEER_FIRST "the peer closes first, nothing in flight"
#define CLOSE_PEER_SHUT	 "the peer shuts down first, 100,000 bytes in flight to it"
#define CLOSE_SHUT_FIRST "we shut down, wait for the peer's end, then close"
#define CLOSE_UNREAD	 "we close first, with bytes of the peer's unread"
#define CLOSE_LOOK                                                                       \
	"what the server's socket shows after 7 bytes and the close, while the server "  \
	"has "                                                                           \
	"it open"
#define CLOSE_ACROSS "we close first, 50,000 bytes in flight"

/* The share of bytes that the client's kernel took and no reader got, in percent. */
double lab_lost_percent(const struct lab_case *what);

#endif
