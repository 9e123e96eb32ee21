/* SPDX-License-Identifier: MIT
 *
 * The connections that a publisher knows and that have not ended, by cookie. They lie one
 * after the other, and a small table of open addressing says where: a connection touches
 * few lines of memory, and a table that grows moves only numbers.
 */
#ifndef TWS_TOOLS_OBSERVE_OPEN_TABLE_H
#define TWS_TOOLS_OBSERVE_OPEN_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/shared/segment.h"

#define OPEN_NO_SLOT UINT32_MAX

struct published;

/* What a policy wants to be done when the connection is closed. */
struct close_plan {
	uint8_t mode;	  /* enum tws_close_mode; TWS_CLOSE_KEEP: nothing */
	bool short_lived; /* only if it lived shorter than short_lived_ms */
	bool dry_run, override;
	bool counted; /* dry run: would_apply was counted when it began */
	uint32_t short_lived_ms;
	uint64_t waited_for; /* see caller_alone.h */
};

/* When the kernel gives up an attempt that nobody answers. */
struct attempt_limits {
	uint32_t syn_retries;	  /* once the SYN was sent again so often */
	uint32_t user_timeout_ms; /* and after the first time, when it is so old; 0: no */
};

struct open_connection {
	uint64_t cookie; /* not 0 */
	struct published *published;
	uint64_t began_ns, established_ns, closed_ns;
	struct tws_address remote, local;
	uint32_t slot; /* in the segment; OPEN_NO_SLOT: there was no room */
	uint32_t flags;
	uint16_t destination;
	uint16_t rule; /* 1 + index in the policy of policy_key; 0: none */
	uint8_t arm;   /* 1 + its entry in the segment; 0: none */
	uint64_t policy_key;
	struct close_plan plan;
	/* Of a source that sees no close: */
	uint16_t live_there; /* as live, to the same destination */
	uint32_t live; /* descriptors with connections when it began, with its own */
	uint32_t descriptor; /* 1 + its number; 0: it is closed, or not known */
	uint8_t missing;     /* how often it was not in the kernel's table */
	/* As it looked at the last close that was seen: */
	uint8_t to_count;	/* 1 + the counter of why its rule did nothing; 0: none */
	uint8_t decided;	/* enum tws_ending; TWS_END_NONE: the kernel will say */
	uint8_t state_at_close; /* enum tcp_state; 0: no close was seen */
	uint64_t bytes_sent, bytes_received;
	struct attempt_limits limits;
	bool left_time_wait; /* it was seen */
	bool unfollowed;     /* the kernel will not say how it goes on */
};

struct open_place;

struct open_table {
	struct open_connection *all; /* in no order */
	uint32_t count;
	struct open_place *places;
	uint32_t room; /* for places; a power of two, or 0 */
};

/* Returns NULL if it is not in the table. The pointer is valid until the next change. */
struct open_connection *open_table_find(const struct open_table *table, uint64_t cookie);

/* Adds a connection that must not be in the table yet, with its cookie filled in.
 * NULL: no memory. */
struct open_connection *open_table_add(struct open_table *table, uint64_t cookie);

/* The last one of `all` is in its place then. */
void open_table_remove(struct open_table *table, struct open_connection *connection);

void open_table_free(struct open_table *table);

#endif
