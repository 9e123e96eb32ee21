/* SPDX-License-Identifier: MIT
 *
 * Shared by the two sides of door.h.
 */
#ifndef TWS_TOOLS_OBSERVE_DOOR_PARTS_H
#define TWS_TOOLS_OBSERVE_DOOR_PARTS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

socklen_t door_address(struct sockaddr_un *ret_address, int directory, const char *name);

/* Whether the other end of a socket is a process of our own user. */
bool door_is_ours(int socket);

#endif
