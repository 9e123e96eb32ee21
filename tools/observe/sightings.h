/* SPDX-License-Identifier: MIT
 *
 * Which programs are behind sockets that nobody owns: found by observing for a moment,
 * through the kernel (root), or by looking again and again who holds connections to the
 * same destinations (anybody; short connections are mostly missed).
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
	char command[SIGHTING_COMMAND]; /* "": not known */
	char unit[SIGHTING_UNIT];	/* systemd's; "": none */
	uint32_t uid;
	pid_t pid;	      /* of one of the processes; 0: it may not be looked at */
	uint64_t processes;   /* more than one: a new process each time */
	uint64_t connections; /* begun in that time; 0: only looked at */
	unsigned looks;	      /* in which it held one */
	pid_t parent;
	char parent_command[SIGHTING_COMMAND];
	bool alive; /* at the end */
};

struct sightings {
	struct sighting *list; /* most connections, or looks, first */
	size_t count, room;
	bool counted; /* by the kernel; else looked at */
	double seconds;
	unsigned looks;
};

/* Counts for so long through the kernel. What it sees is also published in `directory`,
 * so that the sockets that are left meanwhile have an owner. 0, or -errno: it cannot, and
 * nothing was waited for. */
int sightings_count(struct sightings *ret_sightings, int directory, double seconds);

/* Looks for so long who holds connections to these destinations. 0 or -errno. */
int sightings_sample(struct sightings *ret_sightings, const struct tws_address *to,
		     size_t count, double seconds);

/* Leaves those that go to one of these destinations. */
void sightings_keep(struct sightings *sightings, const struct tws_address *to,
		    size_t count);

void sightings_free(struct sightings *sightings);

/* For a person: "python3 storm.py (pid 4711, root)", or "curl: a new process each time,
 * started by 4712 (bash cron.sh)". Returns `buffer`. */
const char *sighting_describe(char *buffer, size_t size, const struct sighting *sighting);

/* "counted by the kernel, 2 s", or "seen holding connections there, 14 of 200 looks". */
const char *sighting_how(char *buffer, size_t size, const struct sightings *sightings,
			 const struct sighting *sighting);

#endif
