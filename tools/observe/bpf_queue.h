/* SPDX-License-Identifier: MIT
 *
 * Part of twshim.bpf.c: the queue of connections that have ended. A place is taken by
 * moving `filled` on, and handed over by its number. The kernel's own ring takes a lock
 * and waits until all that was written has reached the caches. Here nothing waits: what
 * lies in the queue is out of the caches, and is written but never read.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_QUEUE_H
#define TWS_TOOLS_OBSERVE_BPF_QUEUE_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "tools/observe/bpf_event.h"
#include "tools/observe/bpf_process.h"

#define TAKE_TRIES 4 /* another processor may be quicker */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_ENDED_LEAST);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bpf_ended);
} queued SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bpf_queue);
} queue SEC(".maps");

static __noinline void wake_reader(void)
{
	void *nothing = bpf_ringbuf_reserve(&ring, sizeof(__u64), 0);

	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
}

/* NULL: there is no free place. The reader looks often, and is woken only when the queue
 * fills faster, and once. */
static __always_inline struct bpf_ended *take_ended(__u64 *ret_number)
{
	struct bpf_queue *state;
	__u64 at, waiting;
	__u32 index = 0;

	state = bpf_map_lookup_elem(&queue, &index);
	for (int i = 0; state && i < TAKE_TRIES; i++) {
		at = *(volatile __u64 *)&state->filled;
		waiting = at - *(volatile __u64 *)&state->taken;
		if (waiting > scope.ended_mask ||
		    __sync_val_compare_and_swap(&state->filled, at, at + 1) != at)
			continue;
		if (waiting == scope.wake_ended)
			wake_reader();
		*ret_number = at + 1;
		index = (__u32)(at & scope.ended_mask);
		return bpf_map_lookup_elem(&queued, &index);
	}
	return NULL;
}

/* What was written before is seen before. x86 keeps the order of all writes, and an
 * atomic operation would wait there until they have reached the caches. */
static __always_inline void store_last(uint64_t *word, uint64_t value)
{
#ifdef __TARGET_ARCH_x86
	barrier();
	*(volatile uint64_t *)word = value;
#else
	__sync_lock_test_and_set(word, value);
#endif
}

#endif
