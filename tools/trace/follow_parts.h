/* SPDX-License-Identifier: MIT
 *
 * Shared by the parts of follow.h: follow.c has the order of steps, follow_directory.c
 * finds the segments, follow_ring.c reads them, follow_killed.c asks the kernel.
 */
#ifndef TWS_TOOLS_FOLLOW_PARTS_H
#define TWS_TOOLS_FOLLOW_PARTS_H

#include <sys/types.h>

#include "tools/trace/follow.h"
#include "tools/segments/reader.h"

#define FOLLOW_NAME_SIZE 96

struct kernel_listener;
struct settler;

/* One segment. Its descriptor is closed when the process is dead and everything is read;
 * it is remembered until its file has gone. */
struct followed {
	struct follow_process process;
	struct tws_header header;    /* as it was when the segment was opened */
	char name[FOLLOW_NAME_SIZE]; /* "": the file has gone */
	int watch;		     /* inotify's number of its directory */
	int fd;			     /* -1: nothing more will come */
	dev_t device;
	ino_t inode;
	uint64_t next;	   /* the next ticket to read */
	uint64_t stuck_ns; /* since when that ticket's record has been incomplete; 0: it
			      is not */
	uint64_t next_look_ns; /* when to check next whether the process lives */
	uint64_t died_ns;      /* when it was first seen to be dead; 0: it lives */
};

struct follow_directory {
	int watch; /* inotify's number */
	int fd;
	bool main; /* has "run-*" directories below it */
	bool gone; /* was removed, at the last look */
};

struct follow {
	struct reader reader;
	int inotify;
	const char *dir; /* NULL: the main directory and those of other users */
	struct follow_directory *directories;
	size_t directory_count;
	struct followed **segments;
	size_t segment_count;
	struct follow_event *events;
	size_t event_count, event_room;
	uint64_t unread;
	uint64_t scan_ns; /* when to look for new directories */
	uint64_t net_namespace;
	struct settler *settler;	  /* NULL: the kernel refused it */
	struct kernel_listener *listener; /* the settler's */
	bool begun;  /* segments found from now on are read from their start */
	bool failed; /* out of memory */
};

/* -------- follow_ring.c */

/* Reads what has ended since the last call, as events. */
void follow_read_ring(struct follow *follow, struct followed *segment, uint64_t now);

/* Whether nobody writes to the segment any more: its process is known to be dead, or its
 * observer has finished with it. */
bool follow_is_dead(struct follow *follow, const struct followed *segment);

/* Begins to follow a file of a directory. */
void follow_add(struct follow *follow, const struct follow_directory *directory,
		const char *name);

/* Notes that a file of this name has gone, or, if the name is NULL, all of its directory.
 * What is open is still read. */
void follow_forget(struct follow *follow, int watch, const char *name);

/* Returns a new, empty event, or NULL if out of memory. */
struct follow_event *follow_event_new(struct follow *follow,
				      const struct followed *segment);

/* Fills in the names of the event's rule and arm. */
void follow_name_event(const struct followed *segment, struct follow_event *event);

/* -------- follow_directory.c */

/* Finds and lists directories that are not watched yet. */
void follow_scan(struct follow *follow);

/* Handles what inotify has announced. */
void follow_take_news(struct follow *follow);

/* -------- follow_killed.c */

/* Fills in local addresses, which the shim rarely reads, from destroy messages and the
 * table. */
void follow_hear(struct follow *follow);

/* Handles a dead process: adds an event for each connection that it left open. False: the
 * kernel's message about one of them may still come, so nothing was added; ask again. */
bool follow_read_open(struct follow *follow, struct followed *segment);

#endif
