/* SPDX-License-Identifier: MIT
 *
 * Cold answers for owners and doctor: if TIME_WAIT sockets have no owner, finds the
 * programs that connect to the same destinations now.
 */
#ifndef TWS_TOOLS_COLD_H
#define TWS_TOOLS_COLD_H

#include "tools/launch/run_directory.h"
#include "tools/model/owners.h"
#include "tools/observe/sightings.h"

#define COLD_SECONDS 2 /* unless --sample says otherwise */

struct cold {
	struct sightings sightings;
	int lock; /* lock against a watch of the whole host; -1: none */
	struct run_directory directory; /* where the counted connections are published */
};

/* The row for the option --sample, stored in a field of type unsigned. */
#define COLD_OPTION(request, field)                                                      \
	{                                                                                \
		"sample", 0, "SECONDS",                                                  \
		    "observe so long if sockets are unowned; default: 2, 0: do not",     \
		    cli_take_number, .offset = offsetof(request, field), .most = 60      \
	}

/* If outgoing sockets have no owner, looks for the programs, and says so first on
 * stderr unless `quiet`. True: it has looked, and sockets may have an owner now, so
 * build the model again. Call cold_finish() afterwards in either case. */
bool cold_look(struct cold *ret_cold, const struct owners *owners, unsigned seconds,
	       bool quiet);

void cold_finish(struct cold *cold);

#endif
