/* SPDX-License-Identifier: MIT
 *
 * Follows the connections of all processes as they end. New segments are announced by
 * inotify, and each segment's ring is read at every call; a segment stays open while its
 * process lives, so that folding takes nothing away. Sequence numbers tell what a ring
 * lost before we came. What was open when a process was killed is asked of the kernel.
 */
#ifndef TWS_TOOLS_FOLLOW_H
#define TWS_TOOLS_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "shim/shared/segment.h"

/* How often follow_read() is to be called, at least. */
#define FOLLOW_EVERY_MS 25

struct follow_process {
	uint32_t pid; /* in its own namespace */
	uint32_t uid;
	bool detail; /* bytes are counted */
	const char *exe;
	const char *name; /* its last component */
};

/* An ending; or, where `missed` is not 0, so many endings that were overwritten before
 * they could be read. */
struct follow_event {
	const struct follow_process *process;
	uint64_t missed;
	struct tws_ended ended;
	char rule[TWS_NAME_SIZE]; /* of the policy that decided; "" none */
	char arm[TWS_NAME_SIZE];
};

struct follow;

/* Begins with what ends from now on. `dir` NULL: the main run-time directory, and those
 * of other users where root may read them. It need not exist yet. 0, or -errno with a
 * one-line reason. */
int follow_open(struct follow **ret_follow, const char *dir, char *ret_error,
		size_t size);

/* For poll(POLLIN): something is new in a directory. */
int follow_fd(const struct follow *follow);

/* What has ended since the last call, in the order of time. The events are good until the
 * next call. 0 or -ENOMEM. */
int follow_read(struct follow *follow, const struct follow_event **ret_events,
		size_t *ret_count);

/* Segments that were gone, or could not be read, before we had looked into them: what
 * ended in them is not known. */
uint64_t follow_unread(const struct follow *follow);

void follow_close(struct follow *follow);

#endif
