/* SPDX-License-Identifier: MIT */
#include "tools/observe/publish_places.h"

#include <unistd.h>

#include "tools/segments/seen.h"

int publish_by_user(void *data, uint32_t uid)
{
	struct publish_places *places = data;
	uint32_t i = 0;

	if (uid == geteuid())
		return places->main;
	while (i < places->count && places->user[i].uid != uid)
		i++;
	if (i == PUBLISH_PLACES)
		return places->main;
	if (i == places->count) {
		places->user[i].uid = uid;
		places->user[i].fd = seen_open(uid);
		places->count++;
	}
	return places->user[i].fd < 0 ? places->main : places->user[i].fd;
}

void publish_places_close(struct publish_places *places)
{
	for (uint32_t i = 0; i < places->count; i++)
		if (places->user[i].fd >= 0)
			close(places->user[i].fd);
	places->count = 0;
}
