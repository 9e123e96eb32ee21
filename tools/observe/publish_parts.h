/* SPDX-License-Identifier: MIT
 *
 * Shared by the parts of publish.h: publish.c manages the processes, and publish_count.c
 * counts the events of their connections.
 */
#ifndef TWS_TOOLS_OBSERVE_PUBLISH_PARTS_H
#define TWS_TOOLS_OBSERVE_PUBLISH_PARTS_H

#include "shim/shared/policy_image.h"
#include "tools/observe/open_table.h"
#include "tools/observe/publish_file.h"

#define PUBLISH_USERS 64 /* users whose directories are folded */

struct published {
	struct publisher *publisher;
	struct published *next;
	struct publish_file file;
	struct publish_subject subject;
	uint32_t open; /* connections that have not ended */
	bool replaced;
	bool dead; /* when publish_note_dead() was called last */
	/* Released slots, the last one first. There is room for as many as were ever
	 * used. */
	uint32_t *free_slots;
	uint32_t free_count, slots_used;
	/* Of a source that sees no close: by descriptor, the connection that began on it
	 * last, and how many of them are not closed. */
	uint64_t *held;
	uint32_t held_room, live;
	uint16_t *live_there; /* by destination */
};

struct publisher {
	struct publish_writer writer;
	struct publish_place place;
	struct open_table table;
	struct published *first;
	struct publish_counts counts;
	uint32_t users[PUBLISH_USERS]; /* the processes that have files */
	uint32_t user_count, ticks;
	void (*forgotten)(void *data, struct published *published);
	void *forgotten_data;
	void (*fold_child)(void *data); /* NULL: folds itself */
	void *fold_data;
	const struct tws_policy_image *policy; /* NULL: none */
	uint64_t policy_key;
	uint32_t policy_layers; /* that are followed */
};

/* Ends a connection that is in the table, and removes it. */
void publish_end(struct open_connection *open,
		 const struct publish_connection *connection);

/* The index of a destination's entry in the segment; 0: `other`. */
uint16_t publish_destination(struct published *published,
			     const struct tws_address *address);

/* Counts for a connection: for its destination, and for its arm. */
void publish_count(const struct open_connection *open, enum tws_counter counter,
		   uint64_t amount);

/* publish_policy.c: notes what was decided as it began, and counts it; the counters of
 * its arm, NULL: it has none; what became of that. */
void publish_note_decision(struct open_connection *open,
			   const struct publish_decision *decision);
void publish_decide(struct open_connection *open,
		    const struct publish_decision *decision);
struct tws_counters *publish_arm_counters(const struct open_connection *open);
void publish_policy_ended(struct open_connection *open, enum tws_ending ending);

/* Its rule was carried out at its close. */
void publish_applied(struct open_connection *open);

/* It is about to be reset. False: the rule is off, or the cap for this second is reached.
 */
bool publish_may_reset(const struct open_connection *open);

/* A reset took data with it. */
void publish_discarded(const struct open_connection *open, uint64_t bytes);

/* publish_held.c: notes the descriptor that a connection begins on, and that it is closed
 * or ended. */
void publish_hold(struct open_connection *open, uint32_t descriptor);
void publish_release(struct open_connection *open);

#endif
