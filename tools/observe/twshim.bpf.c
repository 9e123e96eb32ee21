/* SPDX-License-Identifier: MIT
 *
 * Runs in the kernel: follows each outgoing TCP connection through the states of its
 * socket, and reports who opened it and how it ended. It decides nothing else; the
 * publisher does all counting.
 *
 * The maps `places` and `connections` hold the living connections, and the queue tells of
 * those that have ended. What does not fit into the queue stays in its map, and `losses`
 * says so.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "tools/observe/bpf_call.h"
#include "tools/observe/bpf_ending.h"
#include "tools/observe/bpf_event.h"
#include "tools/observe/bpf_kernel.h"
#include "tools/observe/bpf_place.h"
#include "tools/observe/bpf_process.h"

#define AF_INET	      2
#define AF_INET6      10
#define IPPROTO_TCP   6
#define O_NONBLOCK    00004000
#define SEND_SHUTDOWN 2
#define BINDADDR_LOCK 4
#define BINDPORT_LOCK 8

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

static __always_inline void read_remote(struct tws_address *remote, struct sock *sk)
{
	remote->port = bpf_ntohs(sk->__sk_common.skc_dport);
	if (sk->__sk_common.skc_family == AF_INET6) {
		BPF_CORE_READ_INTO(&remote->bytes, sk,
				   __sk_common.skc_v6_daddr.in6_u.u6_addr8);
		remote->family = TWS_IPV6;
		if (!is_mapped(remote))
			return;
	}
	set_ipv4(remote, sk->__sk_common.skc_daddr);
}

static __always_inline void read_local(struct tws_address *local, enum tws_family family,
				       struct sock *sk)
{
	local->port = sk->__sk_common.skc_num;
	if (family == TWS_IPV4) {
		set_ipv4(local, sk->__sk_common.skc_rcv_saddr);
		return;
	}
	BPF_CORE_READ_INTO(&local->bytes, sk,
			   __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
	local->family = TWS_IPV6;
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

struct beginning {
	struct bpf_process process;
	__u64 began_ns;
};

static __always_inline void fill(struct bpf_connection *connection, struct sock *sk,
				 const struct beginning *beginning)
{
	__u64 cookie = (__u64)sk->__sk_common.skc_cookie.counter;

	connection->process = beginning->process;
	connection->net_namespace = sk->__sk_common.skc_net.net->ns.inum;
	connection->cookie = cookie ? cookie : bpf_get_socket_cookie(sk);
	connection->began_ns = beginning->began_ns;
	connection->flags = flags_at_begin(sk);
	read_remote(&connection->remote, sk);
	barrier(); /* the reader looks at the kind first */
	connection->kind = BPF_EVENT_BEGUN;
}

/* Its place was taken. */
static __noinline void begin_in_map(struct sock *sk, const struct beginning *beginning)
{
	struct bpf_connection connection = {0}, *old;

	fill(&connection, sk, beginning);
	old = bpf_map_lookup_elem(&connections, &connection.cookie);
	if (old && old->kind == BPF_EVENT_ENDED)
		note_lost(); /* an earlier attempt of the same socket, which was never
				reported */
	if (bpf_map_update_elem(&connections, &connection.cookie, &connection, BPF_ANY) !=
	    0)
		note_lost();
	else
		tell(&connection);
}

static __always_inline void begin(struct sock *sk)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct bpf_call *call = own_place(thread);
	struct beginning beginning;
	struct bpf_place *place;

	if (call && call->thread == thread) {
		call->thread = 0;
		beginning.process = call->connection.process;
		beginning.began_ns = call->connection.began_ns;
	} else if (find_process(&beginning.process,
				sk->__sk_common.skc_net.net->ns.inum)) {
		beginning.began_ns = bpf_ktime_get_ns();
	} else {
		return;
	}
	place = claim_place(sk);
	if (place)
		fill(&place->connection, sk, &beginning);
	else
		begin_in_map(sk, &beginning);
}

static __always_inline void end(struct bpf_connection *connection,
				struct bpf_place *place, struct sock *sk,
				const struct tcp_sock *tp, int old)
{
	describe_end(connection, sk, tp, old);
	if (tell_end(connection, place))
		return;
	connection->kind = BPF_EVENT_ENDED;
	note_deferred();
}

static __always_inline void establish(struct bpf_connection *connection, struct sock *sk,
				      const struct tcp_sock *tp)
{
	connection->established_ns = packet_time(tp, connection->began_ns);
	read_local(&connection->local, connection->remote.family, sk);
	barrier();
	connection->kind = BPF_EVENT_ESTABLISHED;
}

/* The program has closed the connection, so what it opens next is not open at the same
 * time. If it shut down one half before, its close() comes later and is not a change
 * of state. */
static __always_inline void note_close(struct bpf_connection *connection,
				       const struct sock *sk, int new)
{
	connection->last_ack = new == LAST_ACK;
	if (sk->sk_shutdown == SEND_SHUTDOWN)
		connection->flags |= TWS_CONN_SHUT_WRITE;
	else
		connection->closed_ns = bpf_ktime_get_ns();
}

/* The connection of a client's socket that has not ended yet, or NULL; and its place, or
 * NULL if it is in the map. */
static __always_inline struct bpf_connection *connection_of(struct sock *sk,
							    struct bpf_place **ret_place)
{
	__u64 number = number_of(sk), cookie = (__u64)sk->__sk_common.skc_cookie.counter;
	struct bpf_connection *connection = NULL;
	struct bpf_place *place = place_of(number);

	if (was_told(place, cookie))
		return NULL;
	if (place && (place->owner != number || !is_living(place)))
		place = NULL;
	if (place && place->connection.cookie != cookie) {
		tell_unseen(place);
		place = NULL;
	}
	*ret_place = place;
	if (place)
		return &place->connection;
	connection = bpf_map_lookup_elem(&connections, &cookie);
	return connection && connection->kind != BPF_EVENT_ENDED ? connection : NULL;
}

static __always_inline void go_on(struct sock *sk, int old, int new)
{
	struct bpf_place *place;
	struct bpf_connection *connection = connection_of(sk, &place);
	struct tcp_sock *tp = connection ? bpf_skc_to_tcp_sock(sk) : NULL;

	if (!tp)
		return;
	if (new == ESTABLISHED || (!connection->established_ns && was_established(old)))
		establish(connection, sk, tp);
	if (new == CLOSE) {
		end(connection, place, sk, tp, old);
		return;
	}
	if (new != ESTABLISHED)
		note_close(connection, sk, new);
	if (!place)
		tell(connection);
}

/* Whether a connection may go on with this. The socket of a server has no cookie, and its
 * place may be out of the caches. */
static __always_inline bool may_be_clients(const struct sock *sk)
{
	return sk->sk_protocol == IPPROTO_TCP && sk->__sk_common.skc_cookie.counter;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old, int new)
{
	if (new == SYN_SENT && sk->sk_protocol == IPPROTO_TCP)
		begin(sk);
	else if ((new == ESTABLISHED || new == FIN_WAIT1 || new == LAST_ACK ||
		  new == CLOSE) &&
		 may_be_clients(sk))
		go_on(sk, old, new);
	return 0;
}

/* What the state must have been before it became CLOSE: no call's own change of state is
 * ever missed, so these are known. */
static __always_inline int last_state(const struct bpf_connection *connection)
{
	if (connection->last_ack)
		return LAST_ACK;
	return connection->closed_ns || connection->flags & TWS_CONN_SHUT_WRITE
		   ? FIN_WAIT2
		   : ESTABLISHED;
}

/* The kernel does not run a program while the same one is at work on that processor. A
 * call such as connect() may be interrupted while on_state is at work, and the packets
 * that have come in then change the states of other sockets, often of hundreds. Those
 * that ended are told when their sockets are freed, by this program, which nothing
 * interrupts then. */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(on_destroy, struct sock *sk)
{
	struct bpf_connection *connection;
	struct bpf_place *place;
	struct tcp_sock *tp;

	if (!may_be_clients(sk))
		return 0;
	connection = connection_of(sk, &place);
	tp = connection ? bpf_skc_to_tcp_sock(sk) : NULL;
	if (!tp)
		return 0;
	if (!connection->established_ns && connection->last_ack)
		establish(connection, sk, tp);
	end(connection, place, sk, tp, last_state(connection));
	return 0;
}

/* ----------------------------------------------- attempts that fail before their SYN */

/* NULL: do not note this call. An address of another family is no attempt: the kernel
 * looks at it after this. */
static __always_inline struct bpf_call *begin_call(struct bpf_sock_addr *context)
{
	__u64 thread = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	struct task_struct *task = bpf_get_current_task_btf();
	struct bpf_connection *connection;
	struct bpf_call *place;
	__u32 net_namespace;

	if (context->protocol != IPPROTO_TCP || context->user_family != context->family)
		return NULL;
	place = take_place(thread, now);
	if (!place)
		return NULL;
	net_namespace = task->nsproxy->net_ns->ns.inum;
	if (!find_caller(place, net_namespace, now))
		return NULL;
	connection = &place->connection;
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
