/* SPDX-License-Identifier: MIT
 *
 * Part of twshim.bpf.c: the states of a socket, and what its last change of state says
 * about how its connection ended.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_ENDING_H
#define TWS_TOOLS_OBSERVE_BPF_ENDING_H

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "tools/observe/bpf_event.h"
#include "tools/observe/bpf_kernel.h"

#define ADDRESS_NOT_AVAILABLE 99 /* errno */

enum socket_flag { DEAD = 0, DONE = 1, LINGER = 4 }; /* from enum sock_flags */

/* State numbers of the kernel, as in /proc/net/tcp. */
enum state {
	ESTABLISHED = 1,
	SYN_SENT = 2,
	SYN_RECV = 3,
	FIN_WAIT1 = 4,
	FIN_WAIT2 = 5,
	CLOSE = 7,
	CLOSE_WAIT = 8,
	LAST_ACK = 9,
	CLOSING = 11,
};

/* Whether it has been established, as its state before this change proves. */
static __always_inline bool was_established(int old)
{
	return old == ESTABLISHED || old == CLOSE_WAIT ||
	       (old >= FIN_WAIT1 && old <= FIN_WAIT2) || old == LAST_ACK ||
	       old == CLOSING;
}

/* Payload bytes that were received but not read. An unread FIN does not count. */
static __always_inline __u32 unread(const struct tcp_sock *tp, int old, bool done)
{
	__u32 bytes = tp->rcv_nxt - tp->copied_seq;

	return bytes && (old == CLOSE_WAIT || done) ? bytes - 1 : bytes;
}

/* Records a failed attempt. If its SYN was never sent, the socket holds no error:
 * either no port was free, or its own port was taken. */
static __always_inline void fail_attempt(struct bpf_connection *connection,
					 const struct tcp_sock *tp, int error)
{
	if (!error && !tp->segs_out)
		error = ADDRESS_NOT_AVAILABLE;
	connection->error = error;
	connection->ending = error ? TWS_END_FAILED : TWS_END_ABANDONED;
}

/* From FIN_WAIT1, FIN_WAIT2 or CLOSING, TIME_WAIT follows, unless the socket still
 * belongs to the program and the program resets it now or had disabled TIME_WAIT. */
static __always_inline __u8 ending_of_ours(const struct sock *sk,
					   const struct tcp_sock *tp, int old)
{
	bool dead = sk->__sk_common.skc_flags & 1ul << DEAD,
	     done = sk->__sk_common.skc_flags & 1ul << DONE;

	if (!dead && !done)
		return unread(tp, old, done) ? TWS_END_RESET_UNREAD : TWS_END_RESET_APP;
	if (tp->linger2 < 0 && !done)
		return TWS_END_FIN_RESET;
	return TWS_END_LOCAL_FIN;
}

static __always_inline __u8 ending_of(const struct sock *sk, const struct tcp_sock *tp,
				      int old)
{
	if (old == LAST_ACK)
		return TWS_END_REMOTE_FIN;
	if (sk->sk_err)
		return TWS_END_RESET_REMOTE;
	if (old == ESTABLISHED || old == CLOSE_WAIT)
		return unread(tp, old, false) ? TWS_END_RESET_UNREAD : TWS_END_RESET_APP;
	return ending_of_ours(sk, tp, old);
}

/* Bytes of the program that were never sent. Our FIN waits behind them. */
static __always_inline __u32 unsent(const struct tcp_sock *tp, int old)
{
	__u32 bytes = tp->write_seq - tp->snd_nxt;

	return bytes && (old == FIN_WAIT1 || old == CLOSING || old == LAST_ACK)
		   ? bytes - 1
		   : bytes;
}

static __always_inline void count_bytes(struct bpf_connection *connection,
					const struct sock *sk, const struct tcp_sock *tp,
					int old)
{
	connection->bytes_sent = tp->bytes_sent - tp->bytes_retrans + unsent(tp, old);
	connection->bytes_received = tp->bytes_received;
	if (connection->bytes_received && sk->__sk_common.skc_flags & 1ul << DONE)
		connection->bytes_received--; /* the FIN */
}

/* When the packet came on which the kernel works: it has read the clock for that, and
 * reading it costs as much as a record in the ring. Not before `since`, or the program
 * did something meanwhile. */
static __always_inline __u64 packet_time(const struct tcp_sock *tp, __u64 since)
{
	__u64 at = 0;

	if (bpf_core_field_exists(tp->tcp_clock_cache))
		at = tp->tcp_clock_cache;
	return at > since ? at : bpf_ktime_get_ns();
}

/* It ends by a FIN of the peer, or by the answer to our own after that: both come in a
 * packet. */
static __always_inline bool ends_by_packet(const struct bpf_connection *connection,
					   const struct sock *sk)
{
	return sk->__sk_common.skc_flags & 1ul << DONE &&
	       (connection->ending == TWS_END_LOCAL_FIN ||
		connection->ending == TWS_END_REMOTE_FIN);
}

static __always_inline void describe_end(struct bpf_connection *connection,
					 struct sock *sk, const struct tcp_sock *tp,
					 int old)
{
	if (sk->__sk_common.skc_flags & 1ul << LINGER)
		connection->flags |=
		    sk->sk_lingertime ? TWS_CONN_APP_LINGER_N : TWS_CONN_APP_LINGER_0;
	if (tp->linger2 < 0)
		connection->flags |= TWS_CONN_APP_LINGER2;
	if (!connection->established_ns) {
		fail_attempt(connection, tp, sk->sk_err);
	} else {
		connection->ending = ending_of(sk, tp, old);
		count_bytes(connection, sk, tp, old);
	}
	connection->ended_ns = ends_by_packet(connection, sk)
				   ? packet_time(tp, connection->closed_ns)
				   : bpf_ktime_get_ns();
	connection->time_wait = connection->ending == TWS_END_LOCAL_FIN;
}

#endif
