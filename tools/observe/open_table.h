/* SPDX-License-Identifier: MIT
 *
 * The connections that a publisher knows and that have not ended, by cookie: open
 * addressing with removal.
 */
#ifndef TWS_TOOLS_OBSERVE_OPEN_TABLE_H
#define TWS_TOOLS_OBSERVE_OPEN_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define OPEN_NO_SLOT UINT32_MAX

struct published;

struct open_connection {
	uint64_t cookie; /* 0: a free place */
	struct published *published;
	uint64_t began_ns, established_ns, closed_ns;
	uint32_t slot; /* in the segment; OPEN_NO_SLOT: there was no room */
	uint32_t flags;
	uint16_t destination;
};

struct open_table {
	struct open_connection *places;
	size_t room; /* a power of two, or 0 */
	size_t count;
};

/* Returns NULL if it is not in the table. The pointer is valid until the next change. */
struct open_connection *open_table_find(const struct open_table *table, uint64_t cookie);

/* Adds a connection that must not be in the table yet, with its cookie filled in.
 * NULL: no memory. */
struct open_connection *open_table_add(struct open_table *table, uint64_t cookie);

void open_table_remove(struct open_table *table, struct open_connection *connection);

void open_table_free(struct open_table *table);

#endif
