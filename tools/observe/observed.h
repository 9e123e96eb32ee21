/* SPDX-License-Identifier: MIT
 *
 * The processes that the kernel reported: the identity of each, as the kernel and /proc
 * describe it, and where its connections are published. A process may have ended when
 * this is called.
 */
#ifndef TWS_TOOLS_OBSERVE_OBSERVED_H
#define TWS_TOOLS_OBSERVE_OBSERVED_H

#include "tools/observe/bpf_event.h"
#include "tools/observe/publish.h"

#define OBSERVED_BUCKETS 4096

struct observed {
	struct observed *next; /* next in the same bucket */
	struct bpf_process process;
	struct publish_subject subject;
	struct published *published; /* NULL if it has none yet, or never */
	uint32_t adopted;	     /* its connections that are to be adopted */
	uint32_t dead_sweeps;	     /* when it was found dead */
	bool left;	  /* not published: left to the shim, or memory ran out */
	bool has_library; /* the shim is loaded, and was not called yet */
	bool looked;	  /* has_library is known */
	pid_t parent;	  /* 0: not known */
	uint64_t cgroup;  /* id */
	char comm[BPF_COMM_SIZE];
	char parent_comm[BPF_COMM_SIZE];
	char args[BPF_ARGS_SIZE]; /* the program, and its script: see command_name() */
};

struct observed_table {
	struct observed *buckets[OBSERVED_BUCKETS];
	uint64_t pid_namespace; /* ours */
};

void observed_init(struct observed_table *table);
void observed_free(struct observed_table *table);

/* Returns NULL if no event mentioned it. */
struct observed *observed_find(const struct observed_table *table,
			       const struct bpf_process *process);

/* Adds a process that the kernel reported. If it is known already, returns it
 * unchanged. It replaces an earlier process of the same pid. NULL: no memory. */
struct observed *observed_tell(struct observed_table *table,
			       const struct bpf_subject *subject);

/* Adds a running process that no event mentioned, as far as /proc describes it. */
struct observed *observed_meet(struct observed_table *table,
			       const struct bpf_process *process, uint32_t net_namespace);

/* Call this when its segment was released. */
void observed_forget(struct observed_table *table, const struct published *published,
		     pid_t host_pid);

/* Call this once per second. It frees processes that are left to the shim and have
 * been dead for two minutes, because until then one of their connections may still
 * end. */
void observed_sweep(struct observed_table *table);

/* Whether /proc still describes the same process. */
bool observed_is_there(const struct observed *observed);

/* Whether another party counts its connections: the shim, which is in the process or
 * wrote its segment, or another observer. `run` is the one that we observe for. */
bool observed_is_others(const struct observed *observed, const uint8_t run[TWS_RUN_SIZE]);

/* Whether a thread waits in a call of libc's that connects: the shim may be in it. A
 * program that calls the kernel past the shim does not use libc for it. */
bool observed_connects_by_libc(const struct observed *observed);

/* The same of a process that has the shim, after its first connect(): waits a little for
 * its segment. */
bool observed_becomes_others(const struct observed *observed);

#endif
