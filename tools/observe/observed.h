/* SPDX-License-Identifier: MIT
 *
 * The processes that the kernel told of: who each is, as the kernel and /proc say, and
 * where its connections are published. A process may be gone when this is asked.
 */
#ifndef TWS_TOOLS_OBSERVE_OBSERVED_H
#define TWS_TOOLS_OBSERVE_OBSERVED_H

#include "tools/observe/bpf_event.h"
#include "tools/observe/publish.h"

#define OBSERVED_BUCKETS 4096

struct observed {
	struct observed *next; /* of the same bucket */
	struct bpf_process process;
	struct publish_subject subject;
	struct published *published; /* NULL: not yet, or not at all */
	uint32_t adopted;	     /* connections of it that are to be adopted */
	uint32_t dead_sweeps;	     /* since when it is dead */
	bool left;		     /* left to the shim, or because memory ran out */
	pid_t parent;		     /* 0: not known */
	uint64_t cgroup;	     /* id */
	char comm[BPF_COMM_SIZE];
	char parent_comm[BPF_COMM_SIZE];
	char args[BPF_ARGS_SIZE]; /* for a person, blanks between them; "": not known */
};

struct observed_table {
	struct observed *buckets[OBSERVED_BUCKETS];
	uint64_t pid_namespace; /* ours */
};

void observed_init(struct observed_table *table);
void observed_free(struct observed_table *table);

/* NULL: nobody told of it. */
struct observed *observed_find(const struct observed_table *table,
			       const struct bpf_process *process);

/* A process that the kernel tells of; one that is known already is returned as it is. An
 * earlier one of the same pid is replaced. NULL: no memory. */
struct observed *observed_tell(struct observed_table *table,
			       const struct bpf_subject *subject);

/* One that nobody told of, but that is running; as far as /proc knows it. */
struct observed *observed_meet(struct observed_table *table,
			       const struct bpf_process *process, uint32_t net_namespace);

/* Its segment was let go. */
void observed_forget(struct observed_table *table, const struct published *published,
		     pid_t host_pid);

/* Once a second: frees those that are left to the shim and dead for two minutes: until
 * then a connection of theirs may still end. */
void observed_sweep(struct observed_table *table);

/* Whether somebody else counts its connections: the shim, which is in the process or
 * wrote its segment, or another observer. `directory`: where we would publish. */
bool observed_is_others(const struct observed *observed, int directory);

#endif
