/* SPDX-License-Identifier: MIT
 *
 * Follows the connections of all processes as they end. inotify announces new segments,
 * and every call reads each segment's ring. A segment stays open while its process lives,
 * so that folding cannot take anything away. Sequence numbers show what a ring lost
 * before it was read. How connections ended that were open when their process was killed
 * is taken from the kernel.
 */
#ifndef TWS_TOOLS_FOLLOW_H
#define TWS_TOOLS_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "shim/shared/segment.h"

/* The longest interval between calls of follow_read(). */
#define FOLLOW_EVERY_MS 25

struct follow_process {
	uint32_t pid; /* in its own namespace */
	uint32_t uid;
	bool detail; /* bytes are counted */
	const char *exe;
	const char *name; /* of the application: see shim/shared/names.h */
};

/* One ending; or, if `missed` is not 0, this many endings were overwritten before they
 * could be read. */
struct follow_event {
	const struct follow_process *process;
	uint64_t missed;
	struct tws_ended ended;
	char rule[TWS_NAME_SIZE]; /* of the policy's rule that decided; "" none */
	char arm[TWS_NAME_SIZE];
};

struct follow;
struct kernel_source;

/* Begins with what ends from now on. `dir` NULL: the main run-time directory and, for
 * root, those of other users. It need not exist yet. `better`: see
 * kernel_listener_open(). Returns 0, or -errno with a reason
 * of one line. */
int follow_open(struct follow **ret_follow, const char *dir,
		const struct kernel_source *better, char *ret_error, size_t size);

/* For poll(POLLIN): a directory has changed. */
int follow_fd(const struct follow *follow);

/* Returns what has ended since the last call, in order of time. The events are valid
 * until the next call. Returns 0 or -ENOMEM. */
int follow_read(struct follow *follow, const struct follow_event **ret_events,
		size_t *ret_count);

/* Returns how many segments vanished, or could not be read, before they were opened. What
 * ended in them is not known. */
uint64_t follow_unread(const struct follow *follow);

void follow_close(struct follow *follow);

#endif
