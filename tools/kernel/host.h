/* SPDX-License-Identifier: MIT
 *
 * What the host says about itself: sysctls, counters and tables of /proc, in the network
 * namespace of this process, and what its kernel can do. Nothing here fails: a value that
 * is missing or can't be read is unknown, with the reason. The facts are the rows of
 * host.def.
 */
#ifndef TWS_TOOLS_HOST_H
#define TWS_TOOLS_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum host_fact {
#define HOST(name, file, form, key, help) HOST_##name,
#include "tools/kernel/host.def"
	HOST_FACTS
};

/* What a kernel can do, found by trying it on a socket: see host_probe.c. */
enum host_feature {
	HOST_PORT_RANGE_OPTION, /* IP_LOCAL_PORT_RANGE */
	HOST_FLAT_SCAN,		/* ... and connect() then tries ports one by one */
	HOST_LINGER2,		/* TCP_LINGER2 = -1 */
	HOST_LATE_BIND,		/* IP_BIND_ADDRESS_NO_PORT */
	HOST_FEATURES
};

enum host_knowledge {
	HOST_UNKNOWN, /* not asked, or `error` says why not */
	HOST_KNOWN,
};

struct host_value {
	enum host_knowledge known;
	int error; /* errno; ENODATA: the file has no such field */
	uint64_t value;
};

#define HOST_DIFFERENCES_SIZE 256

struct host {
	struct host_value fact[HOST_FACTS];
	struct host_value feature[HOST_FEATURES];
	char release[64];	/* of the kernel; "" unknown */
	uint64_t net_namespace; /* inode; 0: not known */
	uint64_t page_size;	/* bytes */
	/* The network namespace of process 1: is it ours (value 1 or 0), and which of its
	 * sysctls differ from ours: "tcp_tw_reuse 2 (there 1), ..." */
	struct host_value same_as_init;
	struct host_value compared; /* how many differ */
	char differences[HOST_DIFFERENCES_SIZE];
};

/* Reads all facts below `proc` (NULL: /proc, and then also release and namespaces). */
void host_read(struct host *ret_host, const char *proc);

/* Tries each feature on sockets of its own. `scan`: also tries how connect() searches
 * for ports. For that it opens 16 connections to itself on loopback and resets them. */
void host_probe(struct host *host, bool scan);

/* Compares with the network namespace of process 1, if we may enter it. */
void host_compare_init(struct host *host);

/* Takes the facts of one file from its text, or from the errno of reading it. Pure. */
void host_take(struct host *host, const char *file, const char *text);
void host_take_error(struct host *host, const char *file, int error);

bool host_knows(const struct host *host, enum host_fact fact);

/* Returns the fact's value; 0 if it is unknown. */
uint64_t host_get(const struct host *host, enum host_fact fact);

/* "/proc/sys/net/ipv4/tcp_mem: No such file or directory". Returns `buffer`. */
const char *host_why(const struct host *host, enum host_fact fact, char *buffer,
		     size_t size);

/* Returns how many ports connect() may choose from; 0: unknown. */
uint32_t host_ports(const struct host *host);

/* The feature's name, as in a manual: "IP_LOCAL_PORT_RANGE". */
const char *host_feature_name(enum host_feature feature);

/* -------- the parsers; pure, false: no such field */

enum host_form {
	HOST_FORM_NUMBER,
	HOST_FORM_COLUMN,
	HOST_FORM_PAIR,
	HOST_FORM_PRESSURE,
	HOST_FORM_PORTS,
	HOST_FORM_SLAB
};

bool host_parse(enum host_form form, const char *text, const char *key,
		uint64_t *ret_value);

#endif
