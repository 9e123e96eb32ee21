/* SPDX-License-Identifier: MIT
 *
 * What a supervisor does when a program is about to connect, while its call waits: finds
 * out whose connection it is and where it goes, to publish that it begins. The call
 * itself is always the program's own. And what it does when the kernel says how the
 * connection ended.
 */
#ifndef TWS_TOOLS_OBSERVE_CALL_H
#define TWS_TOOLS_OBSERVE_CALL_H

#include <linux/seccomp.h>

#include "tools/observe/binding.h"
#include "tools/observe/caller.h"
#include "tools/observe/door.h"
#include "tools/observe/last_words.h"
#include "tools/observe/policy_at_call.h"
#include "tools/observe/policy_layers.h"
#include "tools/observe/publish.h"

#define SUPERVISOR_TEXTS 4

/* In memory that is shared with who started the supervisor. */
struct supervisor_counts {
	uint64_t attempts, processes;
	uint64_t passed;	/* connects that it was too late for */
	uint64_t passed_closes; /* closes and binds, on which a policy did not act */
	uint64_t hidden;	/* calls of processes that it may not look into */
	uint64_t io_uring;	/* programs that may connect past it */
	uint64_t refused;	/* processes that could not be published */
	uint64_t handed_over;	/* programs that it observes, or did */
	uint64_t turned_away;	/* programs that were too many at once */
	uint64_t unseen;	/* endings that were missed */
	uint64_t with_shim;	/* 1: a program that has the shim called */
	/* Of programs that it cannot observe: a sentence about each, the first few. */
	uint64_t unreached;
	char unreached_text[SUPERVISOR_TEXTS][DOOR_TEXT_SIZE];
	/* Who started the supervisor says that it observes through the kernel as well:
	 * what is hidden or turned away is counted there. */
	uint64_t kernel_too;
};

struct supervision {
	struct callers callers;
	struct publisher *publisher;
	struct last_words_source *words;
	struct supervisor_counts *counts;
	struct policy_layers layers;
	struct policy_at_call policy;
	struct binding binding;
	uint64_t net_cookie;  /* of our network namespace; 0: not known */
	uint32_t linear_syns; /* net.ipv4.tcp_syn_linear_timeouts */
	uint64_t missed;      /* what was not observed, and is published as such */
	uint64_t lost_ns;     /* when messages of endings were lost; 0: they were not */
	int netlink;	      /* of struct supervisor_setup */
	bool finishing;	      /* nothing is waited for any more */
};

/* Opens what it needs. 0, or -errno with a one-line reason. */
int supervision_open(struct supervision *supervision, const struct publish_place *place,
		     struct supervisor_counts *counts, char *ret_error, size_t size);
void supervision_close(struct supervision *supervision);

/* A call that was received. */
struct received_call {
	int listener;
	const struct seccomp_notif *call;
	bool sees_close; /* its program's closes come here too */
};

/* Looks at a call and lets it go on. That a connection begins is published after that. */
void supervision_take(struct supervision *supervision,
		      const struct received_call *received);

/* Opens the policies that it carries out: see policy_layers_open(). */
void supervision_set_policy(struct supervision *supervision,
			    const struct tws_policy_image *given, uint64_t key, int place,
			    const uint8_t *run);

/* What its programs' filters are to tell of as well: enum notify_also. */
uint32_t supervision_wants(const struct supervision *supervision);

/* Looks whether another policy is in force now. */
void supervision_follow_policy(struct supervision *supervision);

/* A program cannot be observed, as the text says. */
void supervision_note_unreached(struct supervision *supervision, const char *text);

struct keeper_page;

/* Counts what the keeper has let pass. */
void supervision_note_passed(struct supervision *supervision,
			     const struct keeper_page *page);

/* To be called twice a second: what the kernel's table says of connections, and
 * processes that are dead. */
void supervision_tick(struct supervision *supervision);

/* Why an attempt failed that sent nothing; its socket does not say. */
enum tws_counter supervision_unsent_failure(const struct tws_address *to);

/* ------------------------------------------------------------------ the decision */

/* How a connection ended, as the kernel's last words about it show. Pure. `began_ns`:
 * when its call was seen; `limits`: when an attempt times out. */
void last_words_decide(const struct last_words *words,
		       const struct publish_connection *begun,
		       const struct attempt_limits *limits, enum tws_ending decided,
		       struct publish_connection *ret_ended);

#endif
