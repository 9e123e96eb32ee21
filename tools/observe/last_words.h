/* SPDX-License-Identifier: MIT
 *
 * What the kernel says about a TCP socket when it frees it, and whether a TIME_WAIT
 * socket is left of it; without privilege, for the sockets of this network namespace.
 * Only sockets that somebody asks about are looked at closely.
 */
#ifndef TWS_TOOLS_OBSERVE_LAST_WORDS_H
#define TWS_TOOLS_OBSERVE_LAST_WORDS_H

#include <linux/inet_diag.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/shared/segment.h"

struct last_words {
	uint64_t cookie;
	uint64_t read_ns; /* CLOCK_MONOTONIC */
	struct tws_address local, remote;
	struct tcp_info info;
	struct inet_diag_sockid id;
	uint32_t unread, unsent; /* bytes */
	uint8_t family;		 /* AF_INET, AF_INET6 */
	bool fin_acked;		 /* the peer acknowledged our FIN */
	bool time_wait;		 /* it left one here, or will; with fin_acked */
	bool late;  /* read so late that a TIME_WAIT socket may be gone already */
	bool taken; /* another connection has the same addresses now */
};

struct last_words_user {
	bool (*knows)(void *data, uint64_t cookie);
	void (*take)(void *data, const struct last_words *words);
	void *data;
};

struct last_words_source;

/* 0, or -errno with a one-line reason. */
int last_words_open(struct last_words_source **ret_source,
		    const struct last_words_user *user, char *ret_error, size_t size);

/* Listens from now on, if it does not yet. 0 or -errno. */
int last_words_listen(struct last_words_source *source);

/* Takes in what has arrived. To be called every 20 ms while connections may end: the
 * queues are small without privilege. */
void last_words_drain(struct last_words_source *source);

/* Whose TIME_WAIT a connection between these addresses would take over: its cookie; 0:
 * nobody's. */
uint64_t last_words_time_wait(struct last_words_source *source, uint8_t family,
			      const struct inet_diag_sockid *id);

/* When messages were lost for the last time, CLOCK_MONOTONIC; 0: never, or not since it
 * was asked last. */
uint64_t last_words_lost(struct last_words_source *source);

/* NULL is allowed. */
void last_words_close(struct last_words_source *source);

#endif
