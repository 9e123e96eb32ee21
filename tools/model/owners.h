/* SPDX-License-Identifier: MIT
 *
 * Whose the TIME_WAIT sockets of this network namespace are: sets of sockets that share
 * an owner and a destination, or, where the owner is not known, a remote or local port.
 * Pure: a finished model in, groups out.
 */
#ifndef TWS_TOOLS_OWNERS_H
#define TWS_TOOLS_OWNERS_H

#include <stdio.h>

#include "tools/model/model.h"

enum owners_kind {
	OWNERS_KNOWN,	 /* left by a process, or a former process, of an application */
	OWNERS_OUTGOING, /* by nobody we know; the local port is an ephemeral one, or the
			    remote one looks more like a service's */
	OWNERS_INCOMING, /* likewise; a listener's port, or it looks like one */
};

struct owners_group {
	enum owners_kind kind;
	uint32_t app;	       /* of the model; MODEL_NOBODY unless known */
	uint32_t process;      /* MODEL_NOBODY: unknown, or of folded totals */
	struct tws_address to; /* family 0 where incoming */
	uint16_t local_port;   /* 0 unless incoming */
	uint64_t count;
	uint32_t oldest_leaves_ms;
	uint32_t newest_leaves_ms;
};

struct owners {
	const struct model *model;
	struct owners_group *groups; /* known first, then outgoing; most sockets first */
	size_t count;
	size_t room;
	uint32_t *group_of; /* of each socket in the model's table; UINT32_MAX: none, it
			       is in another state */
};

/* The model's states must hold TIME_WAIT; with LISTEN, incoming ones are told for sure.
 * 0 or -ENOMEM. Free it in any case; the model must outlive it. */
int owners_group(struct owners *ret_owners, const struct model *model);

void owners_free(struct owners *owners);

/* For how many seconds at most the process has been dead; -1 if it is not known to be.
 * Its last event and its youngest TIME_WAIT socket tell. */
double owners_exited_s(const struct owners *owners, const struct owners_group *group);

/* -------- the printers of `twshim owners` */

/* Groups as a table; `all`: one line a socket. 0 or -ENOMEM. */
int owners_print_text(const struct owners *owners, bool all, bool color);

/* One object, schema twshim.owners/1; `all` adds the sockets. 0 or -ENOMEM. */
int owners_print_json(FILE *out, const struct owners *owners, bool all);

#endif
