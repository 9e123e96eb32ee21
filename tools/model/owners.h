/* SPDX-License-Identifier: MIT
 *
 * Who owns the TIME_WAIT sockets of this network namespace. Sockets are grouped by owner
 * and destination or, if the owner is not known, by remote address or local port. Pure:
 * takes a finished model and returns groups.
 */
#ifndef TWS_TOOLS_OWNERS_H
#define TWS_TOOLS_OWNERS_H

#include <stdio.h>

#include "tools/model/model.h"

enum owners_kind {
	OWNERS_KNOWN,	 /* left by a process of a known application, alive or not */
	OWNERS_OUTGOING, /* owner unknown; the local port is an ephemeral one, or the
			    remote port looks more like a service's */
	OWNERS_INCOMING, /* owner unknown; the local port has a listener or looks like a
			    service's */
};

struct sightings;

struct owners_group {
	enum owners_kind kind;
	uint32_t app;	  /* index in the model; MODEL_NOBODY if unknown */
	uint32_t process; /* MODEL_NOBODY: unknown, or known from folded totals only */
	struct tws_address to; /* family 0 if incoming */
	uint16_t local_port;   /* 0 if not incoming */
	bool has_listener;     /* somebody listens on local_port now, so they are that
				  process's incoming connections */
	pid_t listener;	       /* see listeners_name(); 0: not known */
	char listener_name[64];
	uint64_t count;
	uint32_t oldest_leaves_ms;
	uint32_t newest_leaves_ms;
};

/* The parts in which the groups are shown. */
enum owners_part {
	OWNERS_PART_KNOWN,
	OWNERS_PART_INCOMING, /* somebody listens on the local port now */
	OWNERS_PART_UNOWNED,
	OWNERS_PARTS
};

struct owners {
	const struct model *model;
	struct owners_group *groups; /* by kind; most sockets first */
	size_t count;
	uint32_t *group_of; /* group of each socket in the model's table; UINT32_MAX if it
			       is not in TIME_WAIT */
};

/* The model must include the state TIME_WAIT; if it includes LISTEN, incoming sockets are
 * recognised reliably. The model must outlive the groups. Returns 0 or -ENOMEM; call
 * owners_free() in either case. */
int owners_group(struct owners *ret_owners, const struct model *model);

void owners_free(struct owners *owners);

enum owners_part owners_part_of(const struct owners_group *group);

/* Returns an upper bound on the seconds since the process died, from its last event and
 * its youngest TIME_WAIT socket; -1 if it is not known to be dead. */
double owners_exited_s(const struct owners *owners, const struct owners_group *group);

/* -------- the printers of `twshim owners` */

/* Prints a table of groups; with `all`, one line per socket. Returns 0 or -ENOMEM. */
int owners_print_text(const struct owners *owners, bool all, bool color);

/* Prints one object, schema twshim.owners/1; `all` adds the sockets, and `seen`, if it is
 * not NULL, the programs behind unowned ones. Returns 0 or -ENOMEM. */
int owners_print_json(FILE *out, const struct owners *owners, bool all,
		      const struct sightings *seen);

#endif
