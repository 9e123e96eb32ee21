/* SPDX-License-Identifier: MIT
 *
 * Shared by the parts of follow.h: follow.c has the rings, follow_directory.c finds the
 * segments, follow_killed.c asks the kernel.
 */
#ifndef TWS_TOOLS_FOLLOW_PARTS_H
#define TWS_TOOLS_FOLLOW_PARTS_H

#include <sys/types.h>

#include "tools/trace/follow.h"
#include "tools/segments/reader.h"

#define FOLLOW_NAME_SIZE 96

struct kernel_listener;

/* One segment. Once its process is dead and all is read its descriptor is closed; it is
 * known until its file is gone. */
struct followed {
	struct follow_process process;
	struct tws_header header;    /* as it was when opened */
	char name[FOLLOW_NAME_SIZE]; /* "": the file is gone */
	int watch;		     /* of its directory */
	int fd;			     /* -1: there is nothing to come */
	dev_t device;
	ino_t inode;
	uint64_t next;	       /* ticket that is to be read */
	uint64_t stuck_ns;     /* since when that ticket's record is not whole; 0: not */
	uint64_t next_look_ns; /* when to ask whether the process lives */
};

struct follow_directory {
	int watch; /* of inotify */
	int fd;
	bool main; /* has "run-*" below it */
	bool gone; /* removed, as of the last look */
};

struct follow {
	struct reader reader;
	int inotify;
	const char *dir; /* NULL: main and others */
	struct follow_directory *directories;
	size_t directory_count;
	struct followed **segments;
	size_t segment_count, segment_room;
	struct follow_event *events;
	size_t event_count, event_room;
	uint64_t unread;
	uint64_t scan_ns; /* when to look for directories again */
	uint64_t net_namespace;
	struct kernel_listener *listener; /* NULL: refused */
	bool begun;  /* segments found from now on are read from their start */
	bool failed; /* out of memory */
};

/* -------- follow_ring.c */

/* Reads what has ended since the last call, as events. */
void follow_read_ring(struct follow *follow, struct followed *segment, uint64_t now);

/* Whether the segment's process is known to be dead. */
bool follow_is_dead(struct follow *follow, const struct followed *segment);

/* Begins to follow a file of a directory. */
void follow_add(struct follow *follow, const struct follow_directory *directory,
		const char *name);

/* A file of this name is gone, or with NULL all of the directory; what is open is still
 * read. */
void follow_forget(struct follow *follow, int watch, const char *name);

/* Room for one more event, or NULL. */
struct follow_event *follow_event_new(struct follow *follow,
				      const struct followed *segment);

/* Fills in the names that the event's numbers stand for. */
void follow_name_event(const struct followed *segment, struct follow_event *event);

/* -------- follow_directory.c */

/* Looks for directories that are not watched yet, and into them. */
void follow_scan(struct follow *follow);

/* Takes in what inotify announces. */
void follow_take_news(struct follow *follow);

/* -------- follow_killed.c */

/* Local addresses, which the shim seldom asks for, from the sockets' last words. */
void follow_hear(struct follow *follow);

/* The process is dead: what was open ended there. */
void follow_read_open(struct follow *follow, const struct followed *segment);

#endif
