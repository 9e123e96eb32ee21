/* SPDX-License-Identifier: MIT
 *
 * The arms of experiments, summed over all processes, and how fast each arm opened
 * connections. An experiment may begin and end while its processes live, so only the
 * times of the experiment's own connections give a rate.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"
#include "tools/model/join.h"
#include "tools/model/model.h"

#define BEGUN_MAX (1u << 20) /* times that are kept per arm */

static bool stands_behind(const struct model_arm *arm, const struct model_arm *new)
{
	return strcmp(arm->experiment, new->experiment) == 0 && arm->place > new->place;
}

/* Arms stay in the policy's order, although a process may not have used the first ones.
 */
static struct model_arm *insert_arm(struct model *model, const struct model_arm *new)
{
	struct model_arm *arms = array_grow(model->arms, model->arm_count, sizeof(*arms));
	uint32_t at = model->arm_count;

	if (!arms)
		return NULL;
	model->arms = arms;
	for (; at > 0 && stands_behind(&arms[at - 1], new); at--)
		arms[at] = arms[at - 1];
	arms[at] = *new;
	model->arm_count++;
	return &arms[at];
}

static struct model_arm *find_arm(struct model *model, const struct tws_arm *arm,
				  uint32_t place)
{
	struct model_arm *found;
	struct model_arm new = {.weight = arm->weight, .place = place};

	memcpy(new.experiment, arm->experiment, TWS_NAME_SIZE - 1);
	memcpy(new.name, arm->name, TWS_NAME_SIZE - 1);
	for (uint32_t i = 0; i < model->arm_count; i++) {
		found = &model->arms[i];
		if (strcmp(found->experiment, new.experiment) == 0 &&
		    strcmp(found->name, new.name) == 0)
			return found;
	}
	return insert_arm(model, &new);
}

/* Counts an arm's TIME_WAIT sockets in the kernel's table, as far back as the ring goes.
 */
static uint64_t count_arm_time_wait(struct model *model, const struct segment *segment,
				    uint32_t arm)
{
	const struct kernel_socket *socket;
	uint64_t count = 0;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ENDED]; i++) {
		if (segment->ended[i].arm != arm + 1 ||
		    !segment_ended_is_whole(segment, i))
			continue;
		socket = kernel_table_find_key(&model->table,
					       join_ended_key(&segment->ended[i]));
		count += socket && socket->state == TCP_TIME_WAIT;
	}
	return count;
}

/* Notes an established connection of the arm. If there is no room left for its time, the
 * arm gets no rate. */
static void note_begun(struct model_arm *arm, uint64_t began_ns)
{
	uint64_t *grown =
	    arm->begun_count == BEGUN_MAX
		? NULL
		: array_grow(arm->begun_ns, arm->begun_count, sizeof(*grown));

	if (!grown) {
		arm->known_since_ns = UINT64_MAX;
		return;
	}
	arm->begun_ns = grown;
	arm->begun_ns[arm->begun_count++] = began_ns;
}

/* Notes when the arm's connections in this process began. A ring that was overwritten
 * still holds everything that ended since its oldest record, and so everything that began
 * since. */
static void note_times(struct model_arm *arm, const struct segment *segment,
		       uint32_t index)
{
	bool lost = segment->header.ended_tickets >
		    segment->header.section[TWS_SECTION_ENDED].count;
	uint64_t since = lost ? UINT64_MAX : 0;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ENDED]; i++) {
		const struct tws_ended *ended = &segment->ended[i];

		if (!segment_ended_is_whole(segment, i))
			continue;
		if (ended->ended_ns < since)
			since = ended->ended_ns;
		if (ended->arm == index + 1 && ended->established_ns)
			note_begun(arm, ended->began_ns);
	}
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_CONNECTIONS]; i++) {
		const struct tws_connection *slot = &segment->connections[i];

		if (slot->state == TWS_CONN_OPEN && slot->arm == index + 1)
			note_begun(arm, slot->began_ns);
	}
	if (lost && since > arm->known_since_ns)
		arm->known_since_ns = since;
}

int model_add_arms(struct model *model, struct segment *segment)
{
	struct model_arm *arm;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_ARMS]; i++) {
		if (segment->arms[i].state != TWS_DESTINATION_READY)
			continue;
		arm = find_arm(model, &segment->arms[i], i);
		if (!arm)
			return -ENOMEM;
		join_derive(&segment->arms[i].counters);
		join_add(&arm->counters, &segment->arms[i].counters);
		arm->time_wait += count_arm_time_wait(model, segment, i);
		note_times(arm, segment, i);
	}
	return 0;
}

/* Finds the time since which all arms of the experiment are known completely, and the
 * first and last connection after it. Returns the number of these connections. */
static uint64_t find_span(const struct model *model, const char *experiment,
			  uint64_t *ret_first, uint64_t *ret_last)
{
	uint64_t since = 0, count = 0;

	*ret_first = UINT64_MAX;
	*ret_last = 0;
	for (uint32_t a = 0; a < model->arm_count; a++)
		if (strcmp(model->arms[a].experiment, experiment) == 0 &&
		    model->arms[a].known_since_ns > since)
			since = model->arms[a].known_since_ns;
	for (uint32_t a = 0; a < model->arm_count; a++) {
		const struct model_arm *arm = &model->arms[a];

		if (strcmp(arm->experiment, experiment) != 0)
			continue;
		for (uint32_t i = 0; i < arm->begun_count; i++) {
			if (arm->begun_ns[i] < since)
				continue;
			count++;
			if (arm->begun_ns[i] < *ret_first)
				*ret_first = arm->begun_ns[i];
			if (arm->begun_ns[i] > *ret_last)
				*ret_last = arm->begun_ns[i];
		}
	}
	return count;
}

void model_finish_arms(struct model *model)
{
	uint64_t first, last, count;

	for (uint32_t a = 0; a < model->arm_count; a++) {
		struct model_arm *arm = &model->arms[a];

		count = find_span(model, arm->experiment, &first, &last);
		if (count < 2 || last <= first)
			continue;
		/* N connections have N - 1 gaps between the first and the last. */
		arm->seconds =
		    (double)(last - first) / 1e9 * (double)count / (double)(count - 1);
		for (uint32_t i = 0; i < arm->begun_count; i++)
			arm->opened += arm->begun_ns[i] >= first;
	}
}
