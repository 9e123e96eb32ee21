/* SPDX-License-Identifier: MIT
 *
 * What the kernel knows about TCP sockets, read over netlink (sock_diag) without
 * privilege: a snapshot of the sockets of this network namespace, and a listener that
 * receives a message for each socket that ends. A socket has the cookie that the
 * program's SO_COOKIE showed while it lived; the join uses that. If the kernel refuses
 * something, the reason is returned as a message.
 */
#ifndef TWS_TOOLS_KERNEL_H
#define TWS_TOOLS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/shared/segment.h"
#include "tools/base/map.h"

/* Bits of a state mask: KERNEL_STATE(TCP_TIME_WAIT) with the names of netinet/tcp.h. */
#define KERNEL_STATE(state) (1u << (state))
#define KERNEL_STATES_ALL   0xfffu

struct kernel_socket {
	uint64_t cookie;
	struct tws_address local;
	struct tws_address remote;
	uint32_t expires_ms; /* of the timer that runs; TIME_WAIT: until it leaves */
	uint32_t uid;	     /* 0 for TIME_WAIT */
	uint32_t inode;	     /* 0 for TIME_WAIT and for orphans: no descriptor is left */
	uint32_t unread;     /* bytes in the receive queue, an unread FIN is one */
	uint8_t state;	     /* TCP_ESTABLISHED ... */
};

struct kernel_table {
	struct kernel_socket *sockets;
	size_t count;
	size_t room;
	struct cookie_map by_cookie; /* position in sockets */
	struct cookie_map by_pair;   /* the same by tws_pair(), once it was asked for */
	bool has_pairs;
};

/* Reads the IPv4 and IPv6 TCP sockets in the states of the mask. Returns 0, or -errno
 * with a one-line reason. Free the table even if nothing is in it. */
int kernel_table_read(struct kernel_table *ret_table, uint32_t states, char *ret_error,
		      size_t size);

/* Adds one socket: for saved tables and tests. 0 or -ENOMEM. */
int kernel_table_add(struct kernel_table *table, const struct kernel_socket *socket);

/* Returns the socket with this cookie, or NULL. Cookie 0 belongs to no socket. */
const struct kernel_socket *kernel_table_find(const struct kernel_table *table,
					      uint64_t cookie);

/* The socket by tws_pair() of its addresses, or by its cookie if TWS_TW_PAIR is not set;
 * NULL: the table does not have it. */
const struct kernel_socket *kernel_table_find_key(struct kernel_table *table,
						  uint64_t key);

void kernel_table_free(struct kernel_table *table);

/* net.ipv4.ip_local_port_range of this network namespace, inclusive. 0 or -errno. */
int kernel_port_range(uint16_t *ret_low, uint16_t *ret_high);

/* The local ports that connect() may choose from: those of the range, without those of
 * net.ipv4.ip_local_reserved_ports. */
struct kernel_ports {
	uint16_t low, high; /* of the range, inclusive; 0, 0: not known */
	uint32_t count;	    /* of those to choose from */
	/* net.ipv4.ip_autobind_reuse: bind() to port 0 may share a port between sockets
	 * that all set SO_REUSEADDR. */
	bool autobind_reuse;
	uint8_t reserved[UINT16_MAX / 8 + 1]; /* a bit each */
};

/* Reads those of this network namespace; none if the range can't be read. */
void kernel_ports_read(struct kernel_ports *ret_ports);

/* Sets the range, low <= high, without a list such as "8080,9000-9100". Returns false
 * if the list is damaged; it is then used up to that point. Pure. */
bool kernel_ports_set(struct kernel_ports *ret_ports, uint16_t low, uint16_t high,
		      const char *reserved);

/* Whether connect() may choose the port. Pure. */
bool kernel_ports_hold(const struct kernel_ports *ports, uint16_t port);

/* Returns the value of net.ipv4.tcp_tw_reuse, which says for which destinations
 * connect() takes over TIME_WAIT ports: 0 none, 1 all, 2 loopback. Returns 0 without
 * tcp_timestamps. */
unsigned kernel_time_wait_reuse(void);

/* Inode of the network or pid namespace ("net", "pid") of this process; 0: unknown. */
uint64_t kernel_namespace(const char *name);

/* ------------------------------------------------------- the destroy listener */

/* What the kernel says about a socket when it frees it; for a socket that goes through
 * TIME_WAIT, that is when TIME_WAIT begins. */
struct kernel_destroyed {
	uint64_t cookie;
	struct tws_address local;
	struct tws_address remote;
	uint64_t bytes_acked;	 /* tcp_info; our SYN and FIN count one each */
	uint64_t bytes_received; /* tcp_info; the peer's FIN counts one */
	uint64_t received_ns;	 /* CLOCK_MONOTONIC, when we read the message */
	uint32_t unread;	 /* receive queue; an unread FIN counts one */
	uint32_t unacked;	 /* send queue: bytes never acknowledged */
	bool has_info;		 /* bytes_acked, bytes_received, fin_acked are known */
	bool fin_acked;		 /* the peer acknowledged our FIN */
};

struct kernel_listener;

/* Fills in has_info and what it is about, from members of tcp_info. */
void kernel_destroyed_set_bytes(struct kernel_destroyed *words, uint64_t acked,
				uint64_t received, uint64_t sent, uint64_t retrans);

/* Another source of the same messages, for those who may open it. Over netlink the kernel
 * makes one for each socket of the network namespace: a short connection took a quarter
 * longer on one core (measured, Linux 6.18). */
struct kernel_source {
	/* 0 or -errno. */
	int (*open)(void **ret_source, struct kernel_listener *listener);
	/* For poll(POLLIN). */
	int (*fd)(const void *source);
	/* Gives what has come to kernel_listener_take(). The number, or -errno. */
	int (*drain)(void *source);
	/* How many messages were lost. */
	uint64_t (*lost)(const void *source);
	void (*close)(void *source);
};

/* Starts to listen in this network namespace. `better` takes the place of netlink once
 * that has brought 1,000 messages, because to open it may take as long as these; NULL:
 * there is none. Returns 0, or -errno with a one-line reason. */
int kernel_listener_open(struct kernel_listener **ret_listener,
			 const struct kernel_source *better, char *ret_error,
			 size_t size);

/* Opens `better` at once. */
void kernel_listener_prefer(struct kernel_listener *listener);

/* Its netlink socket, for kernel_set_listening(); -1: `better` has taken its place. */
int kernel_listener_netlink(const struct kernel_listener *listener);

/* Has a netlink socket (NETLINK_SOCK_DIAG) join the groups of these messages, or leave
 * them, whichever process opened it. 0 or -errno. */
int kernel_set_listening(int netlink, bool listens);

/* For a source: takes in a message, except for its received_ns. */
void kernel_listener_take(struct kernel_listener *listener,
			  const struct kernel_destroyed *words);

/* For poll(POLLIN). It stays the same. */
int kernel_listener_fd(const struct kernel_listener *listener);

/* How many messages its queue holds at least. */
size_t kernel_listener_room(const struct kernel_listener *listener);

/* Takes in the messages that have arrived, without waiting. Returns their number, or
 * -errno. */
int kernel_listener_drain(struct kernel_listener *listener);

/* Keeps at least the newest `count` messages, and at most twice as many; without this
 * call, 131,072. */
void kernel_listener_keep(struct kernel_listener *listener, size_t count);

/* How often messages were lost because they were not drained in time. */
uint64_t kernel_listener_lost(const struct kernel_listener *listener);

/* How many messages are held. */
size_t kernel_listener_count(const struct kernel_listener *listener);

/* Returns the message about the socket with this cookie, or NULL. */
const struct kernel_destroyed *
kernel_listener_find(const struct kernel_listener *listener, uint64_t cookie);

void kernel_listener_close(struct kernel_listener *listener);

#endif
