/* SPDX-License-Identifier: MIT
 *
 * Part of twshim.bpf.c: where the living connections are, and what is told of them.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_PLACE_H
#define TWS_TOOLS_OBSERVE_BPF_PLACE_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "tools/observe/bpf_event.h"
#include "tools/observe/bpf_kernel.h"
#include "tools/observe/bpf_process.h"
#include "tools/observe/bpf_queue.h"

#define WAKE_WITHIN 4096 /* bytes after scope.wake_bytes, in the ring */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, __u64); /* cookie */
	__type(value, struct bpf_connection);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_PLACES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bpf_place);
} places SEC(".maps");

/* ---------------------------------------------------------------------------- places */

/* Only its address is used: the difference of two addresses is a number, with which the
 * kernel allows to calculate. */
static __u64 origin;

static __always_inline __u64 number_of(const struct sock *sk)
{
	return (__u64)sk - (__u64)&origin;
}

static __always_inline struct bpf_place *place_of(__u64 number)
{
	__u32 index = (__u32)(number * 0x9e3779b97f4a7c15ull >> (64 - BPF_PLACES_BITS));

	return bpf_map_lookup_elem(&places, &index);
}

static __always_inline void leave_place(struct bpf_place *place)
{
	place->connection.kind = 0;
	place->told = place->connection.cookie;
	store_last(&place->owner, 0);
}

/* --------------------------------------------------------------------------- telling */

/* The reader looks often. It is woken only when the ring fills faster, and once: waking
 * it again with each record would hold up the programs most when the reader is late. */
static __always_inline __u64 wake(void)
{
	__u64 waiting = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);

	return waiting - scope.wake_bytes < WAKE_WITHIN ? BPF_RB_FORCE_WAKEUP
							: BPF_RB_NO_WAKEUP;
}

/* How far it has come: only of one in the map, which the reader does not look at. */
static __noinline void tell(const struct bpf_connection *connection)
{
	if (bpf_ringbuf_output(&ring, (void *)connection, sizeof(*connection), wake()) !=
	    0)
		note_deferred();
}

static __always_inline void leave(const struct bpf_connection *connection,
				  struct bpf_place *place)
{
	__u64 cookie = connection->cookie;

	if (place)
		leave_place(place);
	else
		bpf_map_delete_elem(&connections, &cookie);
}

/* It leaves its map before the reader can see it in the queue: whatever the reader still
 * finds in a map is not told. */
static __always_inline bool tell_end(const struct bpf_connection *connection,
				     struct bpf_place *place)
{
	__u64 number;
	struct bpf_ended *told = take_ended(&number);

	if (!told)
		return false;
	told->connection = *connection;
	told->connection.kind = BPF_EVENT_ENDED;
	leave(connection, place);
	store_last(&told->number, number);
	return true;
}

/* Its socket is gone, and the kernel did not run the program at its end. The reader finds
 * out what became of it. */
static __noinline void tell_unseen(struct bpf_place *place)
{
	struct bpf_connection *connection = &place->connection;

	connection->ended_ns = bpf_ktime_get_ns();
	connection->ending =
	    connection->established_ns ? TWS_END_UNSEEN : TWS_END_ABANDONED;
	if (tell_end(connection, place))
		return;
	connection->kind = BPF_EVENT_ENDED;
	note_deferred();
}

/* It has left its place, and its socket is freed: nothing has to be looked for. A later
 * attempt of the same socket is in the map only if another connection took the place. */
static __always_inline bool was_told(const struct bpf_place *place, __u64 cookie)
{
	return place && !place->owner && place->told == cookie;
}

/* It is neither being left, nor has it ended and is still to be read. */
static __always_inline bool is_living(const struct bpf_place *place)
{
	return place->connection.kind == BPF_EVENT_BEGUN ||
	       place->connection.kind == BPF_EVENT_ESTABLISHED;
}

/* NULL: another connection lives there, or one that has ended is still to be read. */
static __always_inline struct bpf_place *claim_place(const struct sock *sk)
{
	__u64 number = number_of(sk);
	struct bpf_place *place = place_of(number);

	if (!place)
		return NULL;
	if (place->owner == number && is_living(place))
		tell_unseen(place);
	if (place->owner || __sync_val_compare_and_swap(&place->owner, 0, number) != 0)
		return NULL;
	place->told = 0;
	__builtin_memset(&place->connection, 0, sizeof(place->connection));
	return place;
}

#endif
