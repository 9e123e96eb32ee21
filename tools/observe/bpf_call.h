/* SPDX-License-Identifier: MIT
 *
 * Part of twshim.bpf.c: the calls of connect() that have not sent a SYN yet, and who made
 * them.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_CALL_H
#define TWS_TOOLS_OBSERVE_BPF_CALL_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "tools/observe/bpf_event.h"
#include "tools/observe/bpf_kernel.h"
#include "tools/observe/bpf_place.h"
#include "tools/observe/bpf_process.h"

/* Calls of connect() that have not sent a SYN yet. Each thread has a place, which it
 * may share with others. If a call is still there when the next one begins, it has
 * failed. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_CALLS);
	__type(key, __u32);
	__type(value, struct bpf_call);
} calls SEC(".maps");

static __always_inline struct bpf_call *own_place(__u64 thread)
{
	__u32 place = (__u32)thread % BPF_CALLS;

	return bpf_map_lookup_elem(&calls, &place);
}

/* If the previous call has not advanced for so long, it failed. If a younger call of
 * another thread may still be in progress, this call is not noted, and is not seen if
 * it fails. */
static __always_inline struct bpf_call *take_place(__u64 thread, __u64 now)
{
	struct bpf_call *place = own_place(thread);
	struct bpf_connection *ended;

	if (!place || !place->thread)
		return place;
	if (place->thread != thread && now - place->connection.began_ns < BPF_CALL_NS)
		return NULL;
	ended = bpf_ringbuf_reserve(&ring, sizeof(*ended), 0);
	if (ended) {
		*ended = place->connection;
		bpf_ringbuf_submit(ended, wake());
	} else {
		note_lost();
	}
	place->thread = 0;
	return place;
}

/* Notes the calling process in its place. What was found there lately is not looked up
 * again. False: it is not to be observed. */
static __always_inline bool find_caller(struct bpf_call *place, __u32 net_namespace,
					__u64 now)
{
	struct bpf_process *noted = &place->connection.process, process;
	const struct bpf_process *known;

	if (!identify_process(&process))
		return false;
	if (now < place->known_until && is_same_process(noted, &process))
		return true;
	known = find_known(&process);
	*noted = process;
	place->known_until = known && !known->skip ? now + BPF_KNOWN_NS : 0;
	return is_to_be_observed(&process, known, net_namespace);
}

#endif
