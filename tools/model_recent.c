/* SPDX-License-Identifier: MIT
 *
 * What was going on in the last minute, from the rings of ended connections: counters say
 * what ever was, and a diagnosis is of today. A ring holds its last records only, so
 * these are lower bounds.
 */
#include "tools/model.h"

static void note(struct model_recent *recent, const struct tws_ended *ended)
{
	recent->ended++;
	if (ended->ending <= TWS_END_FAILED)
		recent->ending[ended->ending]++;
	recent->no_port += ended->ending == TWS_END_FAILED &&
			   (ended->failure == TWS_failed_no_port ||
			    ended->failure == TWS_failed_address_in_use);
	recent->short_lived += (ended->flags & TWS_CONN_SHORT_LIVED) != 0;
	recent->early_bind +=
	    ended->flags & TWS_CONN_APP_BOUND_0 && !(ended->flags & TWS_CONN_LATE_BIND);
	recent->reuseaddr += (ended->flags & TWS_CONN_APP_REUSEADDR) != 0;
	recent->linger_time += (ended->flags & TWS_CONN_APP_LINGER_N) != 0;
}

void model_note_recent(struct model *model, const struct segment *segment, uint32_t app,
		       const uint32_t *indexes)
{
	const struct tws_ended *ended;
	struct model_app *owner = &model->apps[app];
	uint32_t destination;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ENDED]; i++) {
		ended = &segment->ended[i];
		if (!segment_ended_is_whole(segment, i) ||
		    ended->ended_ns + MODEL_TIME_WAIT_NS < model->table_ns)
			continue;
		destination = ended->destination;
		if (destination >= segment->used[TWS_SECTION_DESTINATIONS])
			destination = 0;
		note(&owner->recent, ended);
		if (segment->used[TWS_SECTION_DESTINATIONS])
			note(&owner->destinations[indexes[destination]].recent, ended);
	}
}
