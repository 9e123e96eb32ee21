/* SPDX-License-Identifier: MIT
 *
 * What the kernel's table says of the whole network namespace: how full the ephemeral
 * ports are for each pair of source address and destination and when they will be gone,
 * what looks outgoing and what incoming. Pure: a finished model in, facts out. How long a
 * TIME_WAIT socket has left tells when it began, so one look gives the rate of the last
 * seconds.
 */
#ifndef TWS_TOOLS_TRAFFIC_H
#define TWS_TOOLS_TRAFFIC_H

#include "tools/model/owners.h"

#define TRAFFIC_RATE_S 10 /* seconds that a rate is taken over */

/* The ports of one source address that are in use to one destination. */
struct traffic_pair {
	struct tws_address from; /* port 0 */
	struct tws_address to;
	uint32_t used;
	uint32_t time_wait; /* of these */
	uint32_t range;	    /* ports that there are; 0: not known */
	uint32_t app;	    /* of the model, that holds more of it than any other;
			       MODEL_NOBODY: what nobody we know left is more */
	uint32_t owned;	    /* how many that is */
	bool reuse;	    /* connect() takes over its TIME_WAIT ports */
	double rate;	    /* new TIME_WAIT sockets a second */
	/* At this rate: seconds until no port is left, and 0: that does not happen. */
	uint32_t exhausted_in_s;
	uint32_t levels_at; /* ports in use in the end, where there are enough */
};

struct traffic {
	struct traffic_pair *pairs; /* fullest first */
	size_t pair_count;
	size_t pair_room;
	uint64_t time_wait;
	uint16_t port_low, port_high;  /* of connect(); 0, 0: not known */
	uint64_t incoming;	       /* of these: at a port where somebody listens */
	uint16_t incoming_port;	       /* where most are; 0: there are none */
	uint64_t incoming_at_port;     /* how many */
	uint64_t unowned;	       /* outgoing, of nobody we know */
	struct tws_address unowned_to; /* where most go; family 0: there are none */
	uint64_t unowned_there;
	uint64_t fin_wait_2;
	uint32_t newest_leaves_ms; /* of all TIME_WAIT sockets; 0: there are none */
};

/* The ports are the model's, none where they are not known. Its table must hold all
 * states; without LISTEN, what comes in at an ephemeral port looks outgoing. Without
 * `owners` (NULL) nothing is said of unowned sockets. 0 or -ENOMEM. Free it in any case.
 */
int traffic_study(struct traffic *ret_traffic, const struct model *model,
		  const struct owners *owners);

/* Whether connect() takes over TIME_WAIT ports between these addresses, at this value of
 * tcp_tw_reuse and with timestamps. Sockets that were bound before connect() excepted. */
bool traffic_is_reused(uint64_t tcp_tw_reuse, const struct tws_address *from,
		       const struct tws_address *to);

void traffic_free(struct traffic *traffic);

/* The fullest pair to this destination, or NULL. */
const struct traffic_pair *traffic_find(const struct traffic *traffic,
					const struct tws_address *to);

/* Fills in rate, exhausted_in_s and levels_at. `leaving[s]`: how many of its TIME_WAIT
 * sockets leave in second s from now, of 60. Pure. */
void traffic_forecast(struct traffic_pair *pair, const uint32_t leaving[60]);

#endif
