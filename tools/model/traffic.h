/* SPDX-License-Identifier: MIT
 *
 * What the kernel's table says about the whole network namespace: how full the ephemeral
 * ports are for each pair of source address and destination, when they will run out, and
 * which sockets look outgoing or incoming. Pure: takes a finished model and returns
 * facts. The time that a TIME_WAIT socket has left tells when it began, so a single look
 * gives the rate of the last seconds.
 */
#ifndef TWS_TOOLS_TRAFFIC_H
#define TWS_TOOLS_TRAFFIC_H

#include "tools/model/owners.h"

#define TRAFFIC_STATES 13 /* TCP_ESTABLISHED is 1 */
#define TRAFFIC_RATE_S 10 /* the period of a rate, seconds */

/* The ports in use from one source address to one destination. */
struct traffic_pair {
	struct tws_address from; /* port 0 */
	struct tws_address to;
	uint32_t used;
	uint32_t time_wait;		/* in TIME_WAIT */
	uint32_t state[TRAFFIC_STATES]; /* by TCP state, see netinet/tcp.h */
	uint32_t range;			/* size of the port range; 0: not known */
	uint32_t app;	/* index in the model of the application with most of them;
			   MODEL_NOBODY: unowned sockets are more */
	uint32_t owned; /* how many that application has */
	bool reuse;	/* connect() reuses the ports of its TIME_WAIT sockets */
	double rate;	/* new TIME_WAIT sockets per second */
	/* Seconds until no port is left at this rate; 0: ports do not run out. */
	uint32_t exhausted_in_s;
	uint32_t levels_at; /* the number of ports in use at which this rate levels off,
			       if there are enough */
};

/* The ports of one source address that are in use to any destination. bind() to this
 * address and port 0 finds only the others. */
struct traffic_pool {
	struct tws_address from; /* port 0 */
	uint32_t used;
	uint32_t range;
	uint32_t app; /* as in struct traffic_pair */
	uint32_t owned;
};

struct traffic {
	struct traffic_pair *pairs; /* fullest first */
	size_t pair_count;
	struct traffic_pool *pools; /* fullest first; none unless a program needs them */
	size_t pool_count;
	bool autobind_reuse; /* see struct kernel_ports */
	uint64_t time_wait;
	uint16_t port_low, port_high; /* the range of connect(); 0, 0: not known */
	uint64_t incoming; /* TIME_WAIT sockets at a local port that has a listener */
	uint16_t incoming_port;	   /* the port with most of them; 0: none */
	uint64_t incoming_at_port; /* how many that port has */
	uint64_t unowned;	   /* outgoing TIME_WAIT sockets without a known owner */
	struct tws_address unowned_to; /* where most of these lead; family 0: none */
	uint64_t unowned_there;
	uint64_t fin_wait_2;
	uint32_t newest_leaves_ms; /* of all TIME_WAIT sockets; 0: none */
};

/* Uses the model's port range, if it is known. The table must hold all states; without
 * LISTEN, an incoming socket at an ephemeral port looks outgoing. If `owners` is NULL,
 * the unowned fields stay 0. Returns 0 or -ENOMEM; call traffic_free() in either case. */
int traffic_study(struct traffic *ret_traffic, const struct model *model,
		  const struct owners *owners);

/* Returns whether connect() reuses TIME_WAIT ports between these addresses, given
 * tcp_tw_reuse and assuming timestamps are on. Does not apply to sockets bound before
 * connect(). */
bool traffic_is_reused(uint64_t tcp_tw_reuse, const struct tws_address *from,
		       const struct tws_address *to);

void traffic_free(struct traffic *traffic);

/* Fills in the pools, from the model's table. Returns 0 or -ENOMEM. */
int traffic_count_pools(struct traffic *traffic, const struct model *model);

/* Returns the fullest pair to this destination, or NULL. */
const struct traffic_pair *traffic_find(const struct traffic *traffic,
					const struct tws_address *to);

/* Fills in rate, exhausted_in_s and levels_at. `leaving[s]` is the number of its
 * TIME_WAIT sockets that leave in second s from now. Pure. */
void traffic_forecast(struct traffic_pair *pair, const uint32_t leaving[60]);

#endif
