/* SPDX-License-Identifier: MIT
 *
 * The verdict in one sentence: what hurts now, or why nothing does. Pure.
 */
#include <stdio.h>

#include "tools/advice/rule.h"
#include "tools/base/print.h"
#include "tools/model/traffic.h"

/* The first finding about TIME_WAIT that somebody should act on; NULL: none. */
static const struct advice_finding *first_serious(const struct advice *advice)
{
	for (size_t i = 0; i < advice->count; i++)
		if (advice->findings[i].verdict >= VERDICT_WARNING &&
		    !advice->findings[i].aside)
			return &advice->findings[i];
	return NULL;
}

/* "to 10.0.0.7:6379, where most lead, 4 % of the ports are in use" */
static void say_fullest(char *text, size_t size, const struct traffic *traffic)
{
	const struct traffic_pair *pair =
	    traffic && traffic->pair_count ? &traffic->pairs[0] : NULL;
	char to[PRINT_ADDRESS_SIZE];

	*text = '\0';
	if (pair && pair->range)
		snprintf(
		    text, size,
		    "; at most %s %% of the ports to one destination, %s, are in use",
		    advice_number((pair->used * 100ULL + pair->range - 1) / pair->range),
		    print_address(to, &pair->to));
}

static void say_harmless(char *text, size_t size, const struct model *model,
			 const struct traffic *traffic, const struct host *host)
{
	uint64_t count = model->kernel.time_wait;
	uint64_t bytes = advice_time_wait_bytes(host);
	char cost[PRINT_NUMBER_SIZE], fullest[160];

	if (traffic && traffic->incoming_at_port * 2 >= count) {
		snprintf(text, size,
			 "Harmless: %s TIME_WAIT on port %u are incoming; they cost %s",
			 advice_number(traffic->incoming_at_port), traffic->incoming_port,
			 print_bytes(cost, traffic->incoming_at_port * bytes));
		return;
	}
	say_fullest(fullest, sizeof(fullest), traffic);
	snprintf(text, size, "Harmless: %s TIME_WAIT %s%s; they cost %s",
		 advice_number(count), print_plural(count, "socket", "sockets"), fullest,
		 print_bytes(cost, count * bytes));
}

const char *advice_say_verdict(char *text, size_t size, const struct advice *advice,
			       const struct model *model, const struct traffic *traffic,
			       const struct host *host)
{
	const struct advice_finding *finding = first_serious(advice);

	if (finding)
		snprintf(text, size, "%s", finding->headline);
	else if (!model->has_table)
		snprintf(text, size, "Not known: the kernel's table cannot be read");
	else if (!model->kernel.time_wait)
		snprintf(text, size, "Nothing is wrong: 0 TIME_WAIT sockets");
	else
		say_harmless(text, size, model, traffic, host);
	return text;
}
