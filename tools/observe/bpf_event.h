/* SPDX-License-Identifier: MIT
 *
 * What the program in the kernel (twshim.bpf.c) and its loader (bpf.c) share: the
 * records in the ring and in the queue, the values of the maps, and the settings of the
 * loader. All types have fixed widths. Both sides are compiled from the same tree, so
 * there is no version number.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_EVENT_H
#define TWS_TOOLS_OBSERVE_BPF_EVENT_H

#include <stddef.h>

#include "shim/shared/segment.h"

enum bpf_event_kind {
	BPF_EVENT_PROCESS = 1, /* struct bpf_subject */
	/* How far a connection has come, struct bpf_connection. The queue tells the end,
	 * and the ring what comes before, where it cannot be found in a place. */
	BPF_EVENT_BEGUN,
	BPF_EVENT_ESTABLISHED, /* and closed by its program, if closed_ns is not 0 */
	BPF_EVENT_CLOSED,      /* for the reader alone */
	BPF_EVENT_ENDED,
};

#define BPF_IMAGE_UNKNOWN UINT64_MAX /* for a process that was found in /proc */

/* A process. It stays the same as long as its pid, its start time and its program do. */
struct bpf_process {
	uint64_t start_ns; /* since boot */
	uint64_t image;	   /* increases with each exec */
	uint32_t tgid;	   /* in the initial pid namespace */
	uint32_t skip;	   /* set by the loader: not to be observed */
};

/* A connection: what the maps hold while it lives. If the queue had no room for its
 * ending, it stays there as ENDED. */
struct bpf_connection {
	uint32_t kind; /* enum bpf_event_kind; 0: not complete yet */
	uint32_t net_namespace;
	struct bpf_process process;
	uint64_t cookie;
	uint64_t began_ns; /* CLOCK_MONOTONIC */
	uint64_t established_ns;
	struct tws_address remote;
	struct tws_address local;
	uint32_t flags;	    /* enum tws_conn_flag */
	int32_t error;	    /* errno of a failed attempt; 0: the program gave it up */
	uint64_t closed_ns; /* when its program closed it; 0: not closed, or only one half
			       of it */
	/* What follows is known when it has ended. */
	uint64_t ended_ns;
	uint64_t bytes_sent;
	uint64_t bytes_received;
	uint8_t ending;	   /* enum tws_ending */
	uint8_t time_wait; /* it left a TIME_WAIT socket here */
	uint8_t last_ack;  /* the peer had closed first */
	uint8_t sought;	   /* for the reader alone: in the kernel's table */
	uint8_t reserved[4];
};

/* Where a connection lives, chosen by the address of its socket. The kernel gives a
 * freed socket's memory to the next one, so the place of a short connection is still in
 * the processor's cache. If a place is taken, the connection lives in the map
 * `connections` instead. */
struct bpf_place {
	uint64_t owner; /* the socket's number; 0: free */
	uint64_t told;	/* the cookie of the connection that left it last; 0: none yet */
	struct bpf_connection connection;
};

/* A connection that has ended, on its way to the reader. */
struct bpf_ended {
	uint64_t number; /* 1 for the first; another one: not this one yet */
	struct bpf_connection connection;
};

/* The queue of these, in places of which there are a power of two. Both numbers count all
 * that ever passed. The reader takes them in order, so a place is free as soon as
 * `taken` says so. */
struct bpf_queue {
	uint64_t filled; /* by the kernel */
	uint64_t apart[7];
	uint64_t taken; /* by the reader */
};

#define BPF_ENDED_LEAST 2

#define BPF_PLACES_BITS 12
#define BPF_PLACES	(1u << BPF_PLACES_BITS)

#define BPF_ERROR_UNKNOWN (-1) /* connect() failed before it sent anything */

/* A call of connect() that has not sent its SYN yet. */
struct bpf_call {
	uint64_t thread;      /* pid and tgid; 0 if there is none */
	uint64_t known_until; /* connection.process is known to be observed until then */
	struct bpf_connection connection;
};

#define BPF_CALLS    1024
#define BPF_CALL_NS  10000000u	 /* a call that takes longer than this has failed */
#define BPF_KNOWN_NS 1000000000u /* for so long a process need not be looked up again */

#define BPF_PATH_PARTS 24
#define BPF_PART_SIZE  64
#define BPF_ARGS_SIZE  256
#define BPF_COMM_SIZE  16

/* Describes a process, sent before its first connection: the process may have ended
 * when this is read. */
struct bpf_subject {
	uint32_t kind;
	uint32_t pid; /* in its own namespace */
	struct bpf_process process;
	uint64_t cgroup; /* id, version 2 */
	uint32_t pid_namespace;
	uint32_t net_namespace;
	uint32_t uid;	      /* effective */
	uint32_t parent;      /* tgid */
	uint32_t args_length; /* bytes of `args` */
	uint32_t parts;
	char comm[BPF_COMM_SIZE];
	char parent_comm[BPF_COMM_SIZE];
	char args[BPF_ARGS_SIZE]; /* each ends with a NUL; long ones are cut */
	/* The components of the path of its executable, the last one first; long ones
	 * are cut. */
	char part[BPF_PATH_PARTS][BPF_PART_SIZE];
};

enum bpf_scope_kind { BPF_SCOPE_ALL, BPF_SCOPE_PROCESSES, BPF_SCOPE_CGROUP };

/* Set before the program is loaded. */
struct bpf_scope {
	uint32_t kind; /* enum bpf_scope_kind */
	uint32_t cgroup_level;
	uint64_t cgroup;
	uint64_t wake_bytes; /* bytes in the ring at which the reader is woken */
	uint64_t wake_ended; /* the same of connections in the queue */
	uint64_t ended_mask; /* places in the queue, less 1 */
};

/* Losses. All 0 means that nothing was lost. */
struct bpf_losses {
	uint64_t deferred; /* what did not fit into ring or queue: look into the map */
	uint64_t lost;	   /* connections that did not fit into the map: not counted */
};

#endif
