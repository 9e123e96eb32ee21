/* SPDX-License-Identifier: MIT
 *
 * What words.bpf.c and its loader (words.c) share.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_WORDS_H
#define TWS_TOOLS_OBSERVE_BPF_WORDS_H

#include <linux/types.h>

/* A socket at its end. Addresses as the kernel has them: in network order, and of an
 * IPv4 socket the first word only. */
struct bpf_words {
	__u64 cookie;
	__u64 bytes_acked; /* these four as in struct tcp_info */
	__u64 bytes_received;
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u32 source[4], target[4];
	__u16 source_port, target_port; /* in network order */
	__u16 family;			/* AF_INET or AF_INET6 */
	__u32 unread;			/* receive queue; an unread FIN counts one */
	__u32 unacked;			/* send queue */
};

/* Room for 21,000 sockets. */
#define BPF_WORDS_RING (2u << 20) /* bytes */

#endif
