/* SPDX-License-Identifier: MIT
 *
 * Takes the connections that have ended from the queue, in the order in which their
 * places were taken. One that is just being filled is left to the next look, and so are
 * those behind it.
 */
#include "tools/observe/bpf.h"

uint64_t bpf_queue_filled(const struct bpf_source *source)
{
	return __atomic_load_n(&source->queue->filled, __ATOMIC_ACQUIRE);
}

void bpf_queue_read(struct bpf_source *source, uint64_t filled)
{
	const uint64_t mask = source->ended_count - 1;
	uint64_t at = source->queue->taken;

	for (; at < filled; at++) {
		const struct bpf_ended *ended = &source->ended[at & mask];

		if (__atomic_load_n(&ended->number, __ATOMIC_ACQUIRE) != at + 1)
			break;
		bpf_changes_note(source, &ended->connection);
	}
	__atomic_store_n(&source->queue->taken, at, __ATOMIC_RELEASE);
}
