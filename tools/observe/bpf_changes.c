/* SPDX-License-Identifier: MIT
 *
 * What happened to connections, put in order. The kernel tells of a short connection
 * once, when it has ended; how many were open at the same time is known when the changes
 * of all are sorted by their times.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"
#include "tools/observe/bpf.h"

struct bpf_change {
	uint64_t at_ns;
	struct bpf_connection connection; /* its kind says what changed */
};

static int compare(const void *left, const void *right)
{
	const struct bpf_change *a = left, *b = right;

	if (a->at_ns != b->at_ns)
		return a->at_ns < b->at_ns ? -1 : 1;
	return (int)a->connection.kind - (int)b->connection.kind;
}

/* Returns `at_ns`, or `after_ns` if that is later. Without memory the change is counted
 * at once. */
static uint64_t add(struct bpf_source *source, const struct bpf_connection *seen,
		    enum bpf_event_kind kind, uint64_t at_ns, uint64_t after_ns)
{
	struct bpf_change change = {at_ns > after_ns ? at_ns : after_ns, *seen};
	struct bpf_change *grown =
	    array_grow(source->changes, source->change_count, sizeof(change));

	change.connection.kind = kind;
	if (grown) {
		source->changes = grown;
		grown[source->change_count++] = change;
	} else {
		bpf_source_take(source, &change.connection);
	}
	return change.at_ns;
}

void bpf_changes_note(struct bpf_source *source, const struct bpf_connection *seen)
{
	uint64_t at_ns = seen->began_ns;

	if (seen->kind == BPF_EVENT_BEGUN)
		at_ns = add(source, seen, BPF_EVENT_BEGUN, at_ns, 0);
	if (seen->established_ns && !(seen->flags & TWS_CONN_ADOPTED)) {
		at_ns =
		    add(source, seen, BPF_EVENT_ESTABLISHED, seen->established_ns, at_ns);
		if (seen->closed_ns)
			at_ns =
			    add(source, seen, BPF_EVENT_CLOSED, seen->closed_ns, at_ns);
	}
	if (seen->kind == BPF_EVENT_ENDED)
		add(source, seen, BPF_EVENT_ENDED, seen->ended_ns, at_ns);
}

void bpf_changes_count(struct bpf_source *source, uint64_t before_ns)
{
	struct bpf_change *changes = source->changes;
	size_t count = source->change_count, done = 0;

	if (!count)
		return;
	qsort(changes, count, sizeof(*changes), compare);
	while (done < count && changes[done].at_ns <= before_ns)
		bpf_source_take(source, &changes[done++].connection);
	memmove(changes, changes + done, (count - done) * sizeof(*changes));
	source->change_count = count - done;
}
