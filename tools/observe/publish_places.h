/* SPDX-License-Identifier: MIT
 *
 * Where an observer of root's publishes: what it sees of root's programs in root's place,
 * what it sees of other users' programs where these can read it (tools/segments/seen.h).
 */
#ifndef TWS_TOOLS_OBSERVE_PUBLISH_PLACES_H
#define TWS_TOOLS_OBSERVE_PUBLISH_PLACES_H

#include "tools/observe/publish.h"

#define PUBLISH_PLACES 64 /* users; those of further ones are in root's place */

struct publish_places {
	int main; /* stays the caller's */
	struct {
		uint32_t uid;
		int fd; /* -errno: this user has none */
	} user[PUBLISH_PLACES];
	uint32_t count;
};

/* `directory` of a place whose `data` is a struct publish_places, in which `main` was
 * set. */
int publish_by_user(void *places, uint32_t uid);

/* After the publisher was closed. */
void publish_places_close(struct publish_places *places);

#endif
