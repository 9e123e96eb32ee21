/* SPDX-License-Identifier: MIT
 *
 * Finds the programs behind unowned sockets, either by observing through the kernel for
 * a moment (root), or by looking repeatedly which processes hold connections to the same
 * destinations (any user; this misses most short connections).
 */
#ifndef TWS_TOOLS_OBSERVE_SIGHTINGS_H
#define TWS_TOOLS_OBSERVE_SIGHTINGS_H

#include "tools/observe/publish.h"

#define SIGHTING_APP	 64
#define SIGHTING_COMMAND 128
#define SIGHTING_UNIT	 96

/* A program that connects to a destination. */
struct sighting {
	struct tws_address to;
	char app[SIGHTING_APP];
	char command[SIGHTING_COMMAND]; /* "" if unknown */
	char unit[SIGHTING_UNIT];	/* systemd unit; "" if none */
	uint32_t uid;
	pid_t pid;	      /* pid of one of the processes; 0 if we may not see it */
	uint64_t processes;   /* more than one: a new process each time */
	uint64_t connections; /* connections begun during the look; 0 if only seen by
				 looking */
	unsigned looks;	      /* number of looks in which it held a connection */
	pid_t parent;
	char parent_command[SIGHTING_COMMAND];
	bool alive; /* at the end */
};

struct sightings {
	struct sighting *list; /* most connections, or looks, first */
	size_t count, room;
	bool counted; /* counted by the kernel; otherwise seen by looking */
	double seconds;
	unsigned looks;
};

/* Counts through the kernel for `seconds`. The result is also published, so that sockets
 * that are left during this time have an owner. Returns 0, or -errno without waiting if
 * this is not possible. */
int sightings_count(struct sightings *ret_sightings, const struct publish_place *place,
		    double seconds);

/* Looks for `seconds` which processes hold connections to these destinations. Returns
 * 0 or -errno. */
int sightings_sample(struct sightings *ret_sightings, const struct tws_address *to,
		     size_t count, double seconds);

/* Keeps only those that go to one of these destinations. */
void sightings_keep(struct sightings *sightings, const struct tws_address *to,
		    size_t count);

void sightings_free(struct sightings *sightings);

/* Describes it for display: "python3 storm.py (pid 4711, root)", or "curl: a new
 * process each time, started by 4712 (bash cron.sh)". Returns `buffer`. */
const char *sighting_describe(char *buffer, size_t size, const struct sighting *sighting);

/* Says how it is known: "counted by the kernel, 2 s" or "seen holding connections
 * there, 14 of 200 looks". */
const char *sighting_how(char *buffer, size_t size, const struct sightings *sightings,
			 const struct sighting *sighting);

#endif
