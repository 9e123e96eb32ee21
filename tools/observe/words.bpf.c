/* SPDX-License-Identifier: MIT
 *
 * Runs in the kernel: tells of each TCP socket of one network namespace that is freed,
 * if it has a cookie. The shim gives its sockets one; a server's sockets have none.
 *
 * All of a socket is read as of a struct tcp_sock: the loader looks through all types of
 * the kernel for each structure that a program begins at, which takes milliseconds.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "tools/observe/bpf_kernel.h"
#include "tools/observe/bpf_words.h"

#define AF_INET6    10
#define IPPROTO_TCP 6

/* Set before the program is loaded. */
const volatile __u32 net_namespace = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, BPF_WORDS_RING);
} ring SEC(".maps");

/* How many did not fit into the ring. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

static __always_inline void note_lost(void)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&lost, &zero);

	if (count)
		__sync_fetch_and_add(count, 1);
}

/* Named in full each time: see above. */
#define SOCK   inet_conn.icsk_inet.sk
#define COMMON inet_conn.icsk_inet.sk.__sk_common

static __always_inline void fill_addresses(struct bpf_words *words,
					   const struct tcp_sock *tp)
{
	words->family = tp->COMMON.skc_family;
	words->source_port = tp->inet_conn.icsk_inet.inet_sport;
	words->target_port = tp->COMMON.skc_dport;
	if (words->family == AF_INET6) {
		bpf_core_read(words->source, sizeof(words->source),
			      &tp->COMMON.skc_v6_rcv_saddr);
		bpf_core_read(words->target, sizeof(words->target),
			      &tp->COMMON.skc_v6_daddr);
	} else {
		words->source[0] = tp->COMMON.skc_rcv_saddr;
		words->target[0] = tp->COMMON.skc_daddr;
	}
}

/* As the kernel's tcp_diag_get_info() and tcp_get_info(). */
static __always_inline void fill(struct bpf_words *words, const struct tcp_sock *tp)
{
	__s32 unread = (__s32)(tp->rcv_nxt - tp->copied_seq);

	words->cookie = (__u64)tp->COMMON.skc_cookie.counter;
	words->unread = unread > 0 ? (__u32)unread : 0;
	words->unacked = tp->write_seq - tp->snd_una;
	words->bytes_acked = tp->bytes_acked;
	words->bytes_received = tp->bytes_received;
	words->bytes_sent = tp->bytes_sent;
	words->bytes_retrans = tp->bytes_retrans;
	fill_addresses(words, tp);
}

static __always_inline _Bool is_wanted(const struct tcp_sock *tp)
{
	return tp->COMMON.skc_cookie.counter && tp->SOCK.sk_protocol == IPPROTO_TCP &&
	       tp->COMMON.skc_net.net->ns.inum == net_namespace;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(on_destroy, struct sock *sk)
{
	struct bpf_words *words;
	struct tcp_sock *tp;

	if (!is_wanted((const void *)sk))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	words = bpf_ringbuf_reserve(&ring, sizeof(*words), 0);
	if (words) {
		fill(words, tp);
		bpf_ringbuf_submit(words, 0);
	} else {
		note_lost();
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
