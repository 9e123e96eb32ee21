/* SPDX-License-Identifier: MIT
 *
 * Shared by the parts of publish.h: publish.c has the processes, publish_count.c what
 * happens to their connections.
 */
#ifndef TWS_TOOLS_OBSERVE_PUBLISH_PARTS_H
#define TWS_TOOLS_OBSERVE_PUBLISH_PARTS_H

#include "tools/observe/open_table.h"
#include "tools/observe/publish_file.h"

#define PUBLISH_USERS 64 /* whose directories are folded */

struct published {
	struct publisher *publisher;
	struct published *next;
	struct publish_file file;
	struct publish_subject subject;
	uint32_t open; /* connections that have not ended */
	bool replaced;
	/* Slots that were let go, the last first; as many as were ever used. */
	uint32_t *free_slots;
	uint32_t free_count, slots_used;
};

struct publisher {
	struct publish_writer writer;
	struct publish_place place;
	struct open_table table;
	struct published *first;
	struct publish_counts counts;
	uint32_t users[PUBLISH_USERS]; /* who has files */
	uint32_t user_count, ticks;
	void (*forgotten)(void *data, struct published *published);
	void *forgotten_data;
};

/* Ends a connection that is in the table, and takes it out. */
void publish_end(struct open_connection *open,
		 const struct publish_connection *connection);

#endif
