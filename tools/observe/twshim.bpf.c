/* SPDX-License-Identifier: MIT
 *
 * Runs in the kernel: follows each outgoing TCP connection through the states of its
 * socket, and reports who opened it and how it ended. It decides nothing else; the
 * publisher does all counting.
 *
 * The map `connections` is authoritative: it holds the living connections, and the ring
 * only reports them sooner. An event that does not fit into the ring stays in the map,
 * and `losses` says so.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "tools/observe/bpf_event.h"
#include "tools/observe/bpf_kernel.h"
#include "tools/observe/bpf_process.h"

#define AF_INET		      2
#define AF_INET6	      10
#define IPPROTO_TCP	      6
#define O_NONBLOCK	      00004000
#define SEND_SHUTDOWN	      2
#define BINDADDR_LOCK	      4
#define BINDPORT_LOCK	      8
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

/* ------------------------------------------------------------------------------ maps */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, __u64); /* cookie */
	__type(value, struct bpf_connection);
} connections SEC(".maps");

/* Calls of connect() that have not sent a SYN yet. Each thread has a place, which it
 * may share with others. If a call is still there when the next one begins, it has
 * failed. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_CALLS);
	__type(key, __u32);
	__type(value, struct bpf_call);
} calls SEC(".maps");

/* ----------------------------------------------------------------------- connections */

static __always_inline bool is_mapped(const struct tws_address *address)
{
	const __u64 *words = (const void *)address->bytes;

	return words[0] == 0 && *(const __u32 *)(address->bytes + 8) == bpf_htonl(0xffff);
}

static __always_inline void set_ipv4(struct tws_address *address, __u32 host)
{
	__builtin_memset(address->bytes, 0, sizeof(address->bytes));
	__builtin_memcpy(address->bytes, &host, sizeof(host));
	address->family = TWS_IPV4;
}

static __always_inline void read_addresses(struct bpf_connection *connection,
					   struct sock *sk)
{
	struct tws_address *remote = &connection->remote, *local = &connection->local;

	remote->port = bpf_ntohs(sk->__sk_common.skc_dport);
	local->port = sk->__sk_common.skc_num;
	if (sk->__sk_common.skc_family == AF_INET6) {
		BPF_CORE_READ_INTO(&remote->bytes, sk,
				   __sk_common.skc_v6_daddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&local->bytes, sk,
				   __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		remote->family = local->family = TWS_IPV6;
		if (!is_mapped(remote))
			return;
	}
	set_ipv4(remote, sk->__sk_common.skc_daddr);
	set_ipv4(local, sk->__sk_common.skc_rcv_saddr);
}

static __always_inline void tell(const struct bpf_connection *connection)
{
	__u64 wake = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > scope.wake_bytes
			 ? BPF_RB_FORCE_WAKEUP
			 : BPF_RB_NO_WAKEUP;

	if (bpf_ringbuf_output(&ring, (void *)connection, sizeof(*connection), wake) != 0)
		note_deferred();
}

/* Records which options the program set before it connected. */
static __always_inline __u32 flags_at_begin(struct sock *sk)
{
	unsigned int locks = BPF_CORE_READ_BITFIELD(sk, sk_userlocks);
	unsigned int file_flags = sk->sk_socket->file->f_flags;
	__u32 flags = 0;

	if (file_flags & O_NONBLOCK)
		flags |= TWS_CONN_NONBLOCKING;
	if (locks & (BINDADDR_LOCK | BINDPORT_LOCK))
		flags |= TWS_CONN_APP_BOUND;
	if (sk->__sk_common.skc_num && !(locks & BINDPORT_LOCK))
		flags |= TWS_CONN_APP_BOUND_0;
	if (BPF_CORE_READ_BITFIELD(sk, __sk_common.skc_reuse))
		flags |= TWS_CONN_APP_REUSEADDR;
	if (sk->__sk_common.skc_family == AF_INET6)
		flags |= TWS_CONN_IPV6;
	return flags;
}

static __always_inline struct bpf_call *own_place(__u64 thread)
{
	__u32 place = (__u32)thread % BPF_CALLS;

	return bpf_map_lookup_elem(&calls, &place);
}

static __always_inline void begin(struct sock *sk)
{
	struct bpf_connection connection = {.kind = BPF_EVENT_BEGUN}, *old;
	__u64 thread = bpf_get_current_pid_tgid();
	struct bpf_call *call = own_place(thread);

	connection.net_namespace = sk->__sk_common.skc_net.net->ns.inum;
	if (call && call->thread == thread) {
		call->thread = 0;
		connection.process = call->connection.process;
	} else if (!find_process(&connection.process, connection.net_namespace)) {
		return;
	}
	connection.cookie = bpf_get_socket_cookie(sk);
	connection.began_ns = bpf_ktime_get_ns();
	connection.flags = flags_at_begin(sk);
	read_addresses(&connection, sk);
	old = bpf_map_lookup_elem(&connections, &connection.cookie);
	if (old && old->kind == BPF_EVENT_ENDED)
		note_lost(); /* an earlier attempt of the same socket, which was never
				reported */
	if (bpf_map_update_elem(&connections, &connection.cookie, &connection, BPF_ANY) !=
	    0) {
		note_lost();
		return;
	}
	tell(&connection);
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

static __always_inline void count_bytes(struct bpf_connection *connection,
					const struct sock *sk, const struct tcp_sock *tp)
{
	__u32 unsent = tp->write_seq - tp->snd_nxt;

	connection->bytes_sent = tp->bytes_sent - tp->bytes_retrans + unsent;
	connection->bytes_received = tp->bytes_received;
	if (connection->bytes_received && sk->__sk_common.skc_flags & 1ul << DONE)
		connection->bytes_received--; /* the FIN */
}

static __always_inline void end(struct bpf_connection *connection, struct sock *sk,
				const struct tcp_sock *tp, int old)
{
	__u64 cookie = connection->cookie;
	int sent;

	connection->kind = BPF_EVENT_ENDED;
	connection->ended_ns = bpf_ktime_get_ns();
	if (sk->__sk_common.skc_flags & 1ul << LINGER)
		connection->flags |=
		    sk->sk_lingertime ? TWS_CONN_APP_LINGER_N : TWS_CONN_APP_LINGER_0;
	if (tp->linger2 < 0)
		connection->flags |= TWS_CONN_APP_LINGER2;
	if (!connection->established_ns) {
		fail_attempt(connection, tp, sk->sk_err);
	} else {
		connection->ending = ending_of(sk, tp, old);
		count_bytes(connection, sk, tp);
	}
	connection->time_wait = connection->ending == TWS_END_LOCAL_FIN;
	sent = (int)bpf_ringbuf_output(&ring, connection, sizeof(*connection),
				       bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >
					       scope.wake_bytes
					   ? BPF_RB_FORCE_WAKEUP
					   : BPF_RB_NO_WAKEUP);
	if (sent == 0)
		bpf_map_delete_elem(&connections, &cookie);
	else
		note_deferred();
}

static __always_inline void establish(struct bpf_connection *connection, struct sock *sk)
{
	connection->kind = BPF_EVENT_ESTABLISHED;
	connection->established_ns = bpf_ktime_get_ns();
	read_addresses(connection, sk); /* the local address is known by now */
	tell(connection);
}

/* The program has closed the connection, so what it opens next is not open at the same
 * time. If it shut down one half before, its close() comes later and is not a change
 * of state. */
static __always_inline void note_close(struct bpf_connection *connection,
				       const struct sock *sk)
{
	struct bpf_closed closed = {.kind = BPF_EVENT_CLOSED,
				    .cookie = connection->cookie};

	if (sk->sk_shutdown == SEND_SHUTDOWN) {
		connection->flags |= TWS_CONN_SHUT_WRITE;
		return;
	}
	closed.closed_ns = connection->closed_ns = bpf_ktime_get_ns();
	bpf_ringbuf_output(&ring, &closed, sizeof(closed), BPF_RB_NO_WAKEUP);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old, int new)
{
	struct bpf_connection *connection;
	struct tcp_sock *tp;
	__u64 cookie;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (new == SYN_SENT) {
		begin(sk);
		return 0;
	}
	cookie = (__u64)sk->__sk_common.skc_cookie.counter;
	connection = cookie ? bpf_map_lookup_elem(&connections, &cookie) : NULL;
	if (!connection || connection->kind == BPF_EVENT_ENDED)
		return 0;
	if (new == ESTABLISHED) {
		establish(connection, sk);
	} else if (new == FIN_WAIT1 || new == LAST_ACK) {
		note_close(connection, sk);
	} else if (new == CLOSE) {
		tp = bpf_skc_to_tcp_sock(sk);
		if (tp)
			end(connection, sk, tp, old);
	}
	return 0;
}

/* ----------------------------------------------- attempts that fail before their SYN */

/* If the previous call has not advanced for so long, it failed. If a younger call of
 * another thread may still be in progress, this call is not noted, and is not seen if
 * it fails. */
static __always_inline struct bpf_call *take_place(__u64 thread, __u64 now)
{
	struct bpf_call *place = own_place(thread);

	if (!place || !place->thread)
		return place;
	if (place->thread != thread && now - place->connection.began_ns < BPF_CALL_NS)
		return NULL;
	tell(&place->connection);
	return place;
}

/* NULL: do not note this call. */
static __always_inline struct bpf_call *begin_call(struct bpf_sock_addr *context)
{
	__u64 thread = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	struct task_struct *task = bpf_get_current_task_btf();
	struct bpf_connection *connection;
	struct bpf_process process;
	struct bpf_call *place;
	__u32 net_namespace;

	if (context->protocol != IPPROTO_TCP)
		return NULL;
	net_namespace = task->nsproxy->net_ns->ns.inum;
	if (!find_process(&process, net_namespace))
		return NULL;
	place = take_place(thread, now);
	if (!place)
		return NULL;
	connection = &place->connection;
	connection->process = process;
	connection->net_namespace = net_namespace;
	connection->kind = BPF_EVENT_ENDED;
	connection->ending = TWS_END_FAILED;
	connection->error = BPF_ERROR_UNKNOWN;
	connection->cookie = bpf_get_socket_cookie(context);
	connection->began_ns = connection->ended_ns = now;
	connection->remote.port = bpf_ntohs((__u16)context->user_port);
	place->thread = thread;
	return place;
}

SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *context)
{
	struct bpf_call *place = begin_call(context);

	if (place) {
		place->connection.flags = 0;
		set_ipv4(&place->connection.remote, context->user_ip4);
	}
	return 1;
}

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *context)
{
	struct bpf_call *place = begin_call(context);
	struct tws_address *remote;
	__u32 *words;

	if (!place)
		return 1;
	place->connection.flags = TWS_CONN_IPV6;
	remote = &place->connection.remote;
	words = (void *)remote->bytes;
	words[0] = context->user_ip6[0];
	words[1] = context->user_ip6[1];
	words[2] = context->user_ip6[2];
	words[3] = context->user_ip6[3];
	remote->family = TWS_IPV6;
	if (is_mapped(remote))
		set_ipv4(remote, words[3]);
	return 1;
}

/* --------------------------------------------------------------- children in scope */

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 tgid = (__u32)parent->tgid, born = (__u32)child->tgid;
	__u8 one = 1;

	if (tgid != born && bpf_map_lookup_elem(&scoped, &tgid))
		bpf_map_update_elem(&scoped, &born, &one, BPF_ANY);
	return 0;
}

/* Its pid may be used again by another process. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	__u32 tgid = (__u32)task->tgid;

	if (task->signal->live.counter == 0)
		bpf_map_delete_elem(&scoped, &tgid);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
