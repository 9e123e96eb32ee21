/* SPDX-License-Identifier: MIT
 *
 * One sock_diag message, decoded: what kernel.c and listener.c share.
 */
#ifndef TWS_TOOLS_KERNEL_MESSAGE_H
#define TWS_TOOLS_KERNEL_MESSAGE_H

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>

#include "tools/kernel/kernel.h"

/* The address of one side: `words` and `port` in network order, `family` AF_INET or
 * AF_INET6; a v4-mapped address becomes IPv4. */
void kernel_decode_address(struct tws_address *ret_address, const uint32_t *words,
			   uint16_t port, uint8_t family);

uint64_t kernel_decode_cookie(const struct inet_diag_sockid *id);

/* Whether the messages of a datagram lie inside of it: older libmnl takes a length of
 * more than 2 GiB for a small one. */
bool kernel_messages_fit(const void *bytes, size_t length);

/* The message's fixed part, or NULL if it is too short to be one of ours. */
const struct inet_diag_msg *kernel_decode_message(const struct nlmsghdr *message);

#endif
