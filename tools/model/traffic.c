/* SPDX-License-Identifier: MIT
 *
 * Two passes over the table: the first finds the pairs and how full they are, the second
 * when the sockets of the fullest pairs leave.
 */
#include "tools/model/traffic.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/array.h"

#define SECONDS	 60 /* how long TIME_WAIT lasts */
#define FORECAST 32 /* pairs that get a forecast */

struct study {
	struct traffic *traffic;
	const struct model *model;
	struct cookie_map by_pair;
	struct cookie_map by_owner; /* sockets of one application within a pair */
	uint32_t at_port[65536];    /* TIME_WAIT sockets, if it has a listener */
};

void traffic_forecast(struct traffic_pair *pair, const uint32_t leaving[60])
{
	uint32_t recent = 0, left = pair->used, now;
	bool ends;

	for (unsigned s = SECONDS - TRAFFIC_RATE_S; s < SECONDS; s++)
		recent += leaving[s];
	pair->rate = (double)recent / TRAFFIC_RATE_S;
	pair->exhausted_in_s = 0;
	ends = pair->range && recent && !pair->reuse;
	for (unsigned s = 0; s < SECONDS; s++) {
		now = left + (uint32_t)(pair->rate * s);
		if (ends && now >= pair->range && !pair->exhausted_in_s)
			pair->exhausted_in_s = s ? s : 1;
		left -= leaving[s] < left ? leaving[s] : left;
	}
	pair->levels_at = left + (uint32_t)(pair->rate * SECONDS);
	if (ends && !pair->exhausted_in_s && pair->levels_at >= pair->range)
		pair->exhausted_in_s = SECONDS;
}

static bool is_outgoing(const struct study *study, const struct kernel_socket *socket)
{
	uint16_t port = socket->local.port;

	return socket->state != TCP_LISTEN && socket->remote.port &&
	       !model_has_listener(study->model, port) &&
	       kernel_ports_hold(&study->model->ports, port);
}

static uint64_t hash_pair(const struct kernel_socket *socket)
{
	struct tws_address from = socket->local;
	uint64_t hash;

	from.port = 0;
	hash = model_hash_address(&socket->remote) * 0x9e3779b97f4a7c15ULL ^
	       model_hash_address(&from);
	return hash ? hash : 1;
}

/* The same definition of loopback as in the kernel's check. */
static bool is_loopback(const struct tws_address *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8_t loopback[16] = {[15] = 1};

	if (address->family == TWS_IPV4)
		return address->bytes[0] == 127;
	return memcmp(address->bytes, loopback, sizeof(loopback)) == 0 ||
	       (memcmp(address->bytes, mapped, sizeof(mapped)) == 0 &&
		address->bytes[12] == 127);
}

bool traffic_is_reused(uint64_t tcp_tw_reuse, const struct tws_address *from,
		       const struct tws_address *to)
{
	return tcp_tw_reuse == 1 ||
	       (tcp_tw_reuse == 2 && (is_loopback(from) || is_loopback(to)));
}

static int add_pair(struct study *study, const struct kernel_socket *socket)
{
	struct traffic *traffic = study->traffic;
	struct traffic_pair *pairs =
	    array_grow(traffic->pairs, traffic->pair_count, sizeof(*pairs));

	if (!pairs)
		return -ENOMEM;
	traffic->pairs = pairs;
	pairs = &traffic->pairs[traffic->pair_count++];
	*pairs = (struct traffic_pair){.from = socket->local,
				       .to = socket->remote,
				       .range = study->model->ports.count,
				       .app = MODEL_NOBODY};
	pairs->from.port = 0;
	pairs->reuse =
	    traffic_is_reused(study->model->time_wait_reuse, &pairs->from, &pairs->to);
	return 0;
}

/* Keeps the application with most sockets of the pair; all unowned sockets count as one
 * owner. */
static int count_owner(struct study *study, uint32_t index, uint32_t app)
{
	struct traffic_pair *pair = &study->traffic->pairs[index];
	uint64_t key = (uint64_t)(index + 1) << 32 | app;
	uint32_t *owned;

	if (cookie_map_add(&study->by_owner, key, 0) < 0)
		return -ENOMEM;
	owned = cookie_map_find(&study->by_owner, key);
	if (++*owned > pair->owned) {
		pair->owned = *owned;
		pair->app = app;
	}
	return 0;
}

static int count_pair(struct study *study, size_t index)
{
	struct traffic *traffic = study->traffic;
	const struct kernel_socket *socket = &study->model->table.sockets[index];
	uint64_t hash = hash_pair(socket);
	struct traffic_pair *pair;
	uint32_t at;
	int added = cookie_map_add(&study->by_pair, hash, (uint32_t)traffic->pair_count);

	if (added == 0)
		added = add_pair(study, socket);
	if (added < 0)
		return added;
	at = *cookie_map_find(&study->by_pair, hash);
	pair = &traffic->pairs[at];
	pair->used++;
	pair->time_wait += socket->state == TCP_TIME_WAIT;
	if (socket->state < TRAFFIC_STATES)
		pair->state[socket->state]++;
	return count_owner(study, at, study->model->owners[index].app);
}

static void count_state(struct study *study, const struct kernel_socket *socket)
{
	struct traffic *traffic = study->traffic;
	uint16_t port = socket->local.port;

	traffic->fin_wait_2 += socket->state == TCP_FIN_WAIT2;
	if (socket->state != TCP_TIME_WAIT)
		return;
	traffic->time_wait++;
	if (socket->expires_ms > traffic->newest_leaves_ms)
		traffic->newest_leaves_ms = socket->expires_ms;
	if (!model_has_listener(study->model, port))
		return;
	traffic->incoming++;
	if (++study->at_port[port] > traffic->incoming_at_port) {
		traffic->incoming_at_port = study->at_port[port];
		traffic->incoming_port = port;
	}
}

static int count_table(struct study *study)
{
	const struct kernel_table *table = &study->model->table;
	int result = 0;

	for (size_t i = 0; result == 0 && i < table->count; i++) {
		count_state(study, &table->sockets[i]);
		if (is_outgoing(study, &table->sockets[i]))
			result = count_pair(study, i);
	}
	return result;
}

/* Counts when the sockets of the fullest pairs leave. */
static void count_leaving(struct study *study, uint32_t (*leaving)[SECONDS], size_t most)
{
	const struct model *model = study->model;
	const struct kernel_socket *socket;
	uint32_t index, second;

	for (size_t i = 0; i < model->table.count; i++) {
		socket = &model->table.sockets[i];
		if (socket->state != TCP_TIME_WAIT || !is_outgoing(study, socket))
			continue;
		index = *cookie_map_find(&study->by_pair, hash_pair(socket));
		second = socket->expires_ms / 1000;
		if (index < most)
			leaving[index][second < SECONDS ? second : SECONDS - 1]++;
	}
}

static int compare_pairs(const void *a, const void *b)
{
	const struct traffic_pair *x = a, *y = b;

	if (x->used != y->used)
		return x->used < y->used ? 1 : -1;
	return memcmp(&x->to, &y->to, sizeof(x->to));
}

/* The map must follow the new order; pairs without a forecast need not be found. */
static int sort_pairs(struct study *study, size_t *ret_most)
{
	struct traffic *traffic = study->traffic;
	struct kernel_socket socket;
	int result = 0;

	*ret_most = traffic->pair_count < FORECAST ? traffic->pair_count : FORECAST;
	if (traffic->pair_count)
		qsort(traffic->pairs, traffic->pair_count, sizeof(*traffic->pairs),
		      compare_pairs);
	cookie_map_clear(&study->by_pair);
	for (size_t i = 0; result >= 0 && i < traffic->pair_count; i++) {
		socket.local = traffic->pairs[i].from;
		socket.remote = traffic->pairs[i].to;
		result = cookie_map_add(&study->by_pair, hash_pair(&socket), (uint32_t)i);
	}
	return result < 0 ? result : 0;
}

static int forecast_all(struct study *study)
{
	uint32_t(*leaving)[SECONDS] = calloc(FORECAST, sizeof(*leaving));
	size_t most = 0;
	int result = leaving ? sort_pairs(study, &most) : -ENOMEM;

	if (result == 0 && most)
		count_leaving(study, leaving, most);
	for (size_t i = 0; result == 0 && i < most; i++)
		traffic_forecast(&study->traffic->pairs[i], leaving[i]);
	free(leaving);
	return result;
}

static void take_unowned(struct traffic *traffic, const struct owners *owners)
{
	const struct owners_group *group;

	for (size_t i = 0; i < owners->count; i++) {
		group = &owners->groups[i];
		if (group->kind != OWNERS_OUTGOING)
			continue;
		traffic->unowned += group->count;
		if (group->count > traffic->unowned_there) {
			traffic->unowned_there = group->count;
			traffic->unowned_to = group->to;
		}
	}
}

int traffic_study(struct traffic *ret_traffic, const struct model *model,
		  const struct owners *owners)
{
	struct study *study = calloc(1, sizeof(*study));
	int result = study ? 0 : -ENOMEM;

	*ret_traffic = (struct traffic){
	    .port_low = model->ports.low,
	    .port_high = model->ports.high,
	    .autobind_reuse = model->ports.autobind_reuse,
	};
	if (result == 0) {
		study->traffic = ret_traffic;
		study->model = model;
		result = count_table(study);
	}
	if (result == 0)
		result = forecast_all(study);
	if (result == 0 && model_binds_early(model))
		result = traffic_count_pools(ret_traffic, model);
	if (result == 0 && owners)
		take_unowned(ret_traffic, owners);
	if (study) {
		cookie_map_free(&study->by_pair);
		cookie_map_free(&study->by_owner);
	}
	free(study);
	return result;
}

void traffic_free(struct traffic *traffic)
{
	free(traffic->pairs);
	free(traffic->pools);
	*traffic = (struct traffic){0};
}

const struct traffic_pair *traffic_find(const struct traffic *traffic,
					const struct tws_address *to)
{
	for (size_t i = 0; i < traffic->pair_count; i++)
		if (memcmp(&traffic->pairs[i].to, to, sizeof(*to)) == 0)
			return &traffic->pairs[i];
	return NULL;
}
