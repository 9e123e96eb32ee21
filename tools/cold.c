/* SPDX-License-Identifier: MIT */
#include "tools/cold.h"

#include <stdlib.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/observe/observation.h"
#include "tools/observe/publish_places.h"

/* Collects the destinations of outgoing sockets that have no owner. */
static struct tws_address *destinations(const struct owners *owners, size_t *ret_count,
					uint64_t *ret_sockets)
{
	struct tws_address *ret = calloc(owners->count + 1, sizeof(*ret));

	*ret_count = 0;
	*ret_sockets = 0;
	for (size_t i = 0; ret && i < owners->count; i++)
		if (owners->groups[i].kind == OWNERS_OUTGOING) {
			ret[(*ret_count)++] = owners->groups[i].to;
			*ret_sockets += owners->groups[i].count;
		}
	return ret;
}

static void announce(uint64_t sockets, unsigned seconds)
{
	char number[PRINT_NUMBER_SIZE];

	cli_fail(
	    0,
	    "looking for %u s for the programs behind %s unowned %s (--sample 0: do not)",
	    seconds, print_number(number, sockets),
	    print_plural(sockets, "socket", "sockets"));
}

static bool count(struct cold *cold, unsigned seconds)
{
	struct publish_places places = {0};
	const struct publish_place place = {
	    .directory = publish_by_user, .data = &places, .run = cold->directory.run};
	char error[PRINT_ERROR_SIZE];
	bool ret;

	if (geteuid() != 0 ||
	    run_directory_create(&cold->directory, error, sizeof(error)) != 0)
		return false;
	places.main = cold->directory.place;
	cold->lock = observation_lock(cold->directory.main, false);
	ret = cold->lock >= 0 && sightings_count(&cold->sightings, &place, seconds) == 0;
	publish_places_close(&places);
	return ret;
}

bool cold_look(struct cold *ret_cold, const struct owners *owners, unsigned seconds,
	       bool quiet)
{
	uint64_t sockets;
	size_t targets;
	struct tws_address *to = destinations(owners, &targets, &sockets);

	*ret_cold = (struct cold){.directory.fd = -1, .lock = -1};
	if (!to || !targets || !seconds) {
		free(to);
		return false;
	}
	if (!quiet)
		announce(sockets, seconds);
	if (!count(ret_cold, seconds))
		sightings_sample(&ret_cold->sightings, to, targets, seconds);
	sightings_keep(&ret_cold->sightings, to, targets);
	free(to);
	return true;
}

void cold_finish(struct cold *cold)
{
	if (cold->lock >= 0)
		close(cold->lock);
	cold->lock = -1;
	run_directory_discard(&cold->directory);
	sightings_free(&cold->sightings);
}
