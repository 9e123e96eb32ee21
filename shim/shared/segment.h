/* SPDX-License-Identifier: MIT
 *
 * The contents of shared memory: one file per process, written by the shim and read by
 * the tools. This header is the whole contract between them and uses only types of fixed
 * width.
 *
 * Rules. The writer fills a file under a temporary name and renames it, so a published
 * segment is complete. Fields marked "atomic" change while the process lives; all others
 * never change after publication. A reader copies with pread() and never maps, because a
 * file can shrink, and touching a hole in a mapping would allocate memory. It trusts
 * nothing before tws_segment_validate(). The layout is an ABI: append and raise
 * TWS_ABI_MINOR, or change and raise TWS_ABI_MAJOR.
 */
#ifndef TWS_SHIM_SEGMENT_H
#define TWS_SHIM_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/shared/names_struct.h"
#include "shim/shared/slice_struct.h"

#define TWS_MAGIC      0x314d494853575421ULL /* "!TWSHIM1", little endian */
#define TWS_BYTE_ORDER 0x01020304u
#define TWS_ABI_MAJOR  1
#define TWS_ABI_MINOR  8

/* File names below the run-time directory. A segment: PIDNS-PID-START-IMAGE.seg (decimal;
 * pid namespace inode, pid, start time in clock ticks, number of the exec image). */
#define TWS_SEGMENT_SUFFIX   ".seg"
#define TWS_TEMPORARY_SUFFIX ".tmp"
#define TWS_TOTALS_SUFFIX    ".totals" /* the folded segments of one application */
#define TWS_POLICY_CONTROL   "policy.ctl"
#define TWS_POLICY_DIRECTORY "policy" /* of a user's layer, or of the system's */
#define TWS_RUN_PREFIX	     "run-"   /* a directory of a run: run-TAG */

/* A run is a random tag, which TWSHIM_RUN gives to its processes in hexadecimal. */
#define TWS_RUN_SIZE	 16
#define TWS_RUN_TAG_SIZE (2 * TWS_RUN_SIZE + 1)

/* ------------------------------------------------------------------ counters */

enum tws_counter {
#define COUNTER(name, kind, unit, help) TWS_##name,
#include "shim/shared/counters.def"
	TWS_COUNTERS
};

enum tws_histogram_id {
#define HISTOGRAM(name, unit, first_octave, help) TWS_HISTOGRAM_##name,
#include "shim/shared/counters.def"
	TWS_HISTOGRAMS
};

static const uint8_t tws_first_octaves[TWS_HISTOGRAMS] = {
#define HISTOGRAM(name, unit, first_octave, help) first_octave,
#include "shim/shared/counters.def"
};

/* There are two buckets per octave. With o = first_octave, bucket 2k holds values
 * under 2^(o+k) microseconds that are not in a lower bucket, bucket 2k+1 those under
 * 1.5 * 2^(o+k), and the last bucket holds the rest. Upper bounds are exclusive. */
#define TWS_BUCKETS 41

struct tws_histogram {
	uint64_t count[TWS_BUCKETS]; /* atomic */
	uint64_t sum;		     /* atomic; microseconds */
};

struct tws_counters {
	uint64_t value[TWS_COUNTER_ROOM];		/* atomic */
	struct tws_histogram histogram[TWS_HISTOGRAMS]; /* atomic */
};

/* ---------------------------------------------------------------- addresses */

/* TWS_IPV4 uses the first four bytes; a v4-mapped IPv6 address is stored as IPv4.
 * Addresses in network order, ports in host order. */
enum tws_family { TWS_FAMILY_NONE = 0, TWS_IPV4 = 4, TWS_IPV6 = 6 };

struct tws_address {
	uint8_t bytes[16];
	uint16_t port;
	uint8_t family; /* enum tws_family */
	uint8_t reserved[5];
};

/* ------------------------------------------------------------------ endings */

/* How a connection ended; each value but the first two is a counter ended_NAME. */
enum tws_ending {
	TWS_END_NONE = 0,      /* not ended */
	TWS_END_ABANDONED = 1, /* closed while connecting: counter `abandoned` */
	TWS_END_LOCAL_FIN,
	TWS_END_REMOTE_FIN,
	TWS_END_FIN_RESET,
	TWS_END_RESET_POLICY,
	TWS_END_RESET_APP,
	TWS_END_RESET_UNREAD,
	TWS_END_RESET_REMOTE,
	TWS_END_UNSEEN,
	TWS_END_FAILED, /* connect() failed, learnt only at the end: counter in `failure`
			 */
};

/* How the last descriptor went; each value but the first is a counter via_NAME. */
enum tws_via {
	TWS_VIA_NONE = 0,
	TWS_VIA_CLOSE,
	TWS_VIA_DUP,
	TWS_VIA_FCLOSE,
	TWS_VIA_CLOSE_RANGE,
	TWS_VIA_SYSCALL,
	TWS_VIA_EXEC,
	TWS_VIA_EXIT,
	TWS_VIA_KILL,
};

/* ----------------------------------------------------- section: connections */

enum tws_conn_state {
	TWS_CONN_FREE = 0,
	TWS_CONN_CLAIMED = 1,	 /* being filled in */
	TWS_CONN_CONNECTING = 2, /* attempt counted, outcome open */
	TWS_CONN_OPEN = 3,	 /* established counted */
	TWS_CONN_ENDING = 4,	 /* `ending` and `via` set, being counted */
};

/* Facts about a connection, as bits of tws_connection.flags. */
enum tws_conn_flag {
	TWS_CONN_NONBLOCKING = 1u << 0,	  /* connect() returned EINPROGRESS */
	TWS_CONN_SHUT_WRITE = 1u << 1,	  /* the program called shutdown(SHUT_WR) */
	TWS_CONN_PEER_FIRST = 1u << 2,	  /* ... when the peer had already closed */
	TWS_CONN_APP_LINGER_0 = 1u << 3,  /* the program's own SO_LINGER {1,0} */
	TWS_CONN_APP_LINGER_N = 1u << 4,  /* the program's own SO_LINGER {1,n} */
	TWS_CONN_APP_REUSEADDR = 1u << 5, /* the program's own SO_REUSEADDR */
	TWS_CONN_APP_BOUND = 1u << 6,	  /* bind() before connect() */
	TWS_CONN_APP_LINGER2 = 1u << 7,	  /* the program's own TCP_LINGER2 */
	TWS_CONN_SHARED = 1u << 8,	  /* another process may hold it */
	TWS_CONN_LEFT = 1u << 9, /* our descriptors are gone, another's may not be */
	TWS_CONN_POLICY_RESET = 1u << 10,    /* policy set SO_LINGER {1,0} */
	TWS_CONN_POLICY_LINGER2 = 1u << 11,  /* policy set TCP_LINGER2 = -1 */
	TWS_CONN_POLICY_LINGER_N = 1u << 12, /* policy set SO_LINGER {1,n} */
	TWS_CONN_FASTOPEN = 1u << 13,	     /* opened by TCP Fast Open */
	TWS_CONN_SHORT_LIVED = 1u << 14,     /* (ended) counted as short-lived */
	TWS_CONN_DOUBTFUL = 1u << 15, /* (ended) CLOSE after our shutdown: FIN or RST? */
	TWS_CONN_BELIEVED = 1u << 16, /* established, says SO_ERROR = 0; not verified */
	TWS_CONN_APP_BOUND_0 = 1u << 17,      /* bind() before connect() took a port */
	TWS_CONN_LATE_BIND = 1u << 18,	      /* policy set IP_BIND_ADDRESS_NO_PORT */
	TWS_CONN_IPV6 = 1u << 19,	      /* the socket's family */
	TWS_CONN_MPTCP = 1u << 20,	      /* the socket's protocol */
	TWS_CONN_FASTOPEN_CONNECT = 1u << 21, /* the program set TCP_FASTOPEN_CONNECT */
	TWS_CONN_SHUT_READ = 1u << 23,	      /* the program called shutdown(SHUT_RD) */
	TWS_CONN_ADOPTED = 1u << 22,	      /* inherited or received: not opened here */
	TWS_CONN_PORT_RING = 1u << 25,	      /* policy bound it to a port of its ring */
	/* Bits 24 and 26 to 29 are the shim's own: shim/conn/conn.h. */
	TWS_CONN_POLICY_COUNTED = 1u << 30, /* counted as policy_applied already */
	TWS_CONN_PORT_RANGE = 1u << 31,	    /* policy set IP_LOCAL_PORT_RANGE */
};

struct tws_connection {
	uint32_t state;	     /* atomic; enum tws_conn_state; changes with generation */
	uint32_t generation; /* atomic; grows each time the slot is claimed */
	uint64_t cookie;     /* SO_COOKIE: the same in the kernel's TIME_WAIT table; or
				see TWS_COOKIE_INODE in shim/shared/pair.h */
	uint64_t began_ns;   /* CLOCK_MONOTONIC at connect() */
	uint64_t established_ns; /* CLOCK_MONOTONIC, 0 while connecting */
	struct tws_address remote;
	struct tws_address local; /* family 0: not known */
	uint32_t flags;		  /* atomic; enum tws_conn_flag */
	int32_t fd;		  /* one of its descriptors */
	uint32_t descriptors;	  /* atomic; of the owner */
	uint16_t destination;	  /* index in the destination section */
	uint16_t rule;		  /* 1 + index of the policy's rule, 0 none */
	uint8_t arm;		  /* 1 + index in the arm section, 0 none */
	uint8_t ending;		  /* enum tws_ending; while open: as last seen, see via */
	uint8_t via;	    /* enum tws_via; while open: our last descriptor went so */
	uint8_t failure;    /* enum tws_counter of failed_*, when ending is FAILED; or,
			       with no ending, CLAIMED again or FREE: of the last
			       connect(), which failed at once; else 0 */
	uint32_t action[4]; /* the shim's own */
	uint8_t reserved[12];
};

/* ---------------------------------------------------- section: destinations */

enum tws_destination_state {
	TWS_DESTINATION_FREE = 0,
	TWS_DESTINATION_CLAIMED = 1,
	TWS_DESTINATION_READY = 2,
};

/* Entry 0 is `other`: it counts what found no entry of its own. Two entries may have
 * the same address, if two threads made them at once; a reader adds them up. */
struct tws_destination {
	uint32_t state; /* atomic */
	uint32_t slice; /* atomic; of its last event, 0: none yet. See slices.h */
	struct tws_address address;
	struct tws_counters counters;
};

/* ------------------------------------------------------------ section: arms */

#define TWS_ARMS      8
#define TWS_NAME_SIZE 48

/* An arm of the experiment. Its connections also count in their destination. */
struct tws_arm {
	uint32_t state; /* atomic; enum tws_destination_state */
	uint32_t weight;
	uint64_t policy_generation;
	char experiment[TWS_NAME_SIZE];
	char name[TWS_NAME_SIZE];
	struct tws_counters counters;
};

/* ----------------------------------------------------------- section: ended */

/* One ended connection, in a ring: ticket t is at t % count. `sequence` is t + 1 once
 * the record is whole, and 0 while it is written. */
struct tws_ended {
	uint64_t sequence; /* atomic */
	uint64_t cookie;
	uint64_t began_ns;	 /* CLOCK_MONOTONIC */
	uint64_t established_ns; /* CLOCK_MONOTONIC, 0: never */
	uint64_t ended_ns;	 /* CLOCK_MONOTONIC */
	uint64_t bytes_sent;
	uint64_t bytes_received;
	struct tws_address remote;
	struct tws_address local;
	uint32_t flags;
	uint16_t destination;
	uint16_t rule;
	uint8_t arm;
	uint8_t ending;
	uint8_t via;
	uint8_t failure;
	uint32_t reserved[3];
};

/* ------------------------------------------------------- section: time_wait */

/* Cookies of connections that ended in a way that leaves TIME_WAIT here, or may do so.
 * A ring of single words, so that 65,536 of them fit: the cookie is in the low 48
 * bits, the index of the destination in the high 16. Ticket t is at t % count. */
#define TWS_TW_COOKIE(word)		 ((word)&0xffffffffffffULL)
#define TWS_TW_DESTINATION(word)	 ((uint16_t)((word) >> 48))
#define TWS_TW_PACK(cookie, destination) ((cookie) | (uint64_t)(destination) << 48)
/* A connection without a cookie of its own is entered by the hash of shim/shared/pair.h.
 */

/* ------------------------------------------------------------ section: rules */

/* How each rule of the policy fared in this process; the index is as in the image. */
#define TWS_RULES 64

struct tws_rule_status {
	uint64_t policy_generation; /* the image to which the numbers belong */
	uint64_t matched;	    /* atomic; connections */
	uint64_t applied;	    /* atomic */
	uint64_t resets;	    /* atomic */
	uint64_t failed;	    /* atomic; failed connects */
	uint64_t peer_resets;	    /* atomic */
	uint64_t bytes_discarded;   /* atomic */
	uint64_t window;	    /* atomic; the shim's own: rate of resets */
	uint32_t stopped;	    /* atomic; enum tws_stop_reason, 0 runs */
	uint32_t reserved;
	char name[TWS_NAME_SIZE];
};

enum tws_stop_reason {
	TWS_STOP_NONE = 0,
	TWS_STOP_FAILED_SHARE,
	TWS_STOP_PEER_RESET_SHARE,
	TWS_STOP_BYTES_DISCARDED,
};

/* ------------------------------------------------------------------- header */

enum tws_section_id {
	/* struct tws_counters, one: what has no destination; also `open` and `peak_open`
	 * of the process as a whole (those of the destinations do not add up to it) */
	TWS_SECTION_PROCESS = 0,
	TWS_SECTION_CONNECTIONS,
	TWS_SECTION_DESTINATIONS,
	TWS_SECTION_ARMS,
	TWS_SECTION_RULES,
	TWS_SECTION_ENDED,
	TWS_SECTION_TIME_WAIT, /* uint64_t */
	TWS_SECTION_FOLDED,    /* struct tws_folded; in totals only */
	TWS_SECTIONS
};

struct tws_section {
	uint64_t offset __attribute__((aligned(8))); /* in the file; a multiple of 64 */
	uint32_t element_size;
	uint32_t count;
	uint32_t used;	/* atomic; elements ever touched (rings: and a few to come, which
			   are 0; at most count); the rest is a hole */
	uint32_t ready; /* atomic; the writer's own: elements backed by memory */
};

enum tws_segment_state {
	TWS_SEGMENT_LIVE = 1,
	TWS_SEGMENT_EXITED =
	    2, /* the process has exited; open connections carry their ending */
	TWS_SEGMENT_EXECED = 3, /* another image has taken over; it still writes here for
				   what it inherited */
	TWS_SEGMENT_TOTALS = 4, /* no process: folded segments of one application */
};

/* Who writes a segment. An observer writes on behalf of a process without the shim.
 * Only the observer knows how the connections of that process end, also after the
 * process has died. */
enum tws_observer {
	TWS_OBSERVER_SHIM = 0,	     /* the process itself */
	TWS_OBSERVER_BPF = 1,	     /* twshim watch and its kin */
	TWS_OBSERVER_SUPERVISOR = 2, /* seccomp user notification */
	TWS_OBSERVERS
};

#define TWS_OBSERVER_ROOM 4

#define TWS_EXE_SIZE 1024

struct tws_header {
	uint64_t magic;
	uint32_t byte_order;
	uint16_t abi_major;
	uint16_t abi_minor;
	/* Size of the file in bytes. A word at its end is always 8: the shim passes it to
	 * the kernel as a length, so that a truncated file shows as EFAULT and not as
	 * SIGBUS; see tws_segment_probe(). */
	uint64_t size;
	uint32_t header_size;
	uint32_t section_count;
	struct tws_section section[TWS_SECTIONS];
	uint8_t boot_id[16];
	uint64_t pid_namespace;	 /* inode */
	uint64_t net_namespace;	 /* inode, at the first connection */
	uint64_t start_time;	 /* when the process started, in clock ticks since boot:
				    proc(5) stat, field 22 */
	uint32_t pid;		 /* in its own pid namespace */
	uint32_t uid;		 /* the effective one at creation */
	uint32_t image;		 /* 0, and one more after each exec */
	uint32_t short_lived_ms; /* atomic */
	uint64_t created_realtime_ns;
	uint64_t created_monotonic_ns;
	uint64_t policy_generation; /* atomic; tws_policy_key() in force, 0 none */
	uint64_t heartbeat_ns;	    /* atomic; CLOCK_MONOTONIC of the last event */
	uint64_t ended_tickets;	    /* atomic; endings ever written to the ring */
	uint64_t time_wait_tickets; /* atomic */
	uint32_t state;		    /* atomic; enum tws_segment_state */
	uint32_t detail;	    /* bytes are counted: 1 yes, 0 no */
	uint64_t folded_processes;  /* totals: the number of processes that were folded
				       into it */
	char exe[TWS_EXE_SIZE];	    /* path of the executable, NUL-terminated */
	uint32_t observer; /* enum tws_observer; the next two are 0 if the shim writes */
	uint32_t observer_pid; /* the pid of the observer, in its own namespace */
	uint64_t observer_pid_namespace;
	uint64_t observer_start_time; /* as start_time */
	/* Totals: how many of the folded processes each observer wrote. */
	uint64_t folded_observed[TWS_OBSERVER_ROOM];
	uint8_t run[TWS_RUN_SIZE]; /* the run that it belongs to; all 0: none */
	uint32_t policy_layers; /* bits, 1 << enum tws_policy_layer: those it follows */
	struct tws_names names;
	uint32_t process_slice;	   /* atomic; as tws_destination.slice */
	struct tws_section slices; /* not in section[], which was full */
	uint64_t slice_tickets;	   /* atomic; ever written to the ring */
	uint32_t slices_from; /* totals: what is older is in no slice; 0: nothing is */
	uint8_t reserved[68];
};

/* In a totals file: the segments of its last fold, by file name. A segment that is
 * named here has been counted, even if it still exists. */
struct tws_folded {
	char name[96];
};

#if defined(__cplusplus)
#define TWS_ASSERT(what) static_assert(what, #what)
#else
#define TWS_ASSERT(what) _Static_assert(what, #what)
#endif

TWS_ASSERT(TWS_COUNTERS <= TWS_COUNTER_ROOM);
TWS_ASSERT(sizeof(struct tws_address) == 24);
TWS_ASSERT(sizeof(struct tws_connection) == 128);
TWS_ASSERT(sizeof(struct tws_ended) == 128);
TWS_ASSERT(sizeof(struct tws_header) <= 4096);
TWS_ASSERT(TWS_OBSERVERS <= TWS_OBSERVER_ROOM);

/* The bucket of a value in microseconds. Pure. */
static inline unsigned tws_histogram_bucket(enum tws_histogram_id id,
					    uint64_t microseconds)
{
	const unsigned first = tws_first_octaves[id];
	unsigned octave, upper_half, bucket;

	if (microseconds >> first == 0)
		return 0;
	octave = 63 - (unsigned)__builtin_clzll(microseconds);
	upper_half = microseconds >> (octave - 1) & 1;
	bucket = 2 * (octave - first) + 1 + upper_half;
	return bucket < TWS_BUCKETS ? bucket : TWS_BUCKETS - 1;
}

/* The exclusive upper bound of a bucket in microseconds; 0: it is the last and has
 * none. Pure. */
static inline uint64_t tws_histogram_bound(enum tws_histogram_id id, unsigned bucket)
{
	const uint64_t octave = 1ULL << (tws_first_octaves[id] + bucket / 2);

	if (bucket >= TWS_BUCKETS - 1)
		return 0;
	return bucket % 2 ? octave + octave / 2 : octave;
}

/* The counter of an ending or of a way of release; TWS_COUNTERS if there is none.
 * Pure. */
static inline enum tws_counter tws_ending_counter(enum tws_ending ending)
{
	if (ending == TWS_END_ABANDONED)
		return TWS_abandoned;
	return ending >= TWS_END_LOCAL_FIN && ending <= TWS_END_UNSEEN
		   ? (enum tws_counter)(TWS_ended_local_fin +
					(ending - TWS_END_LOCAL_FIN))
		   : TWS_COUNTERS;
}

static inline enum tws_counter tws_via_counter(enum tws_via via)
{
	return via >= TWS_VIA_CLOSE && via <= TWS_VIA_KILL
		   ? (enum tws_counter)(TWS_via_close + (via - TWS_VIA_CLOSE))
		   : TWS_COUNTERS;
}

/* The enum and the counters list these in the same order. */
#define TWS_SAME_PLACE(counter, ending)                                                  \
	TWS_ASSERT((counter)-TWS_ended_local_fin == (ending)-TWS_END_LOCAL_FIN)
TWS_SAME_PLACE(TWS_ended_remote_fin, TWS_END_REMOTE_FIN);
TWS_SAME_PLACE(TWS_ended_fin_reset, TWS_END_FIN_RESET);
TWS_SAME_PLACE(TWS_ended_reset_policy, TWS_END_RESET_POLICY);
TWS_SAME_PLACE(TWS_ended_reset_app, TWS_END_RESET_APP);
TWS_SAME_PLACE(TWS_ended_reset_unread, TWS_END_RESET_UNREAD);
TWS_SAME_PLACE(TWS_ended_reset_remote, TWS_END_RESET_REMOTE);
TWS_SAME_PLACE(TWS_ended_unseen, TWS_END_UNSEEN);
TWS_ASSERT(TWS_via_kill - TWS_via_close == TWS_VIA_KILL - TWS_VIA_CLOSE);

#endif
