/* SPDX-License-Identifier: MIT
 *
 * The model's tables: applications, destinations and processes, and how a segment is
 * added to them. build.c calls this for each segment.
 */
#include "tools/model/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kernel/naming.h"
#include "shim/shared/match.h"
#include "tools/base/array.h"
#include "tools/model/baseline.h"
#include "tools/model/group.h"
#include "tools/model/join.h"
#include "tools/model/window.h"

#define NONE UINT32_MAX

/* ------------------------------------------------------------- applications */

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 1099511628211ULL;
	return hash;
}

/* What a group is told apart by: its name, and among applications the executable too. */
struct group_key {
	const char *name;
	const char *exe; /* "": any */
	bool hidden;
};

static uint64_t hash_group(const struct group_key *key)
{
	uint64_t hash = 14695981039346656037ULL ^ (uint64_t)key->hidden;

	hash = hash_text(hash_text(hash, key->name), key->exe);
	return hash ? hash : 1;
}

static struct model_app *find_model_app(struct model *model, uint64_t hash,
					const struct group_key *key)
{
	const uint32_t *first = cookie_map_find(&model->by_name, hash);

	for (uint32_t i = first ? *first : NONE; i != NONE; i = model->apps[i].next)
		if (model->apps[i].hidden == key->hidden &&
		    (!*key->exe || strcmp(model->apps[i].exe, key->exe) == 0) &&
		    strcmp(model->apps[i].name, key->name) == 0)
			return &model->apps[i];
	return NULL;
}

/* Puts a new element in front of those with the same hash. Returns 0, with the element
 * that follows it in `ret_next`, or -ENOMEM. */
static int chain(struct cookie_map *map, uint64_t hash, uint32_t index,
		 uint32_t *ret_next)
{
	uint32_t *first;
	int result = cookie_map_add(map, hash, index);

	if (result < 0)
		return result;
	*ret_next = NONE;
	if (result == 1) {
		first = cookie_map_find(map, hash);
		*ret_next = *first;
		*first = index;
	}
	return 0;
}

static struct model_app *new_model_app(struct model *model, uint64_t hash,
				       const struct group_key *key, const char *exe)
{
	struct model_app new = {
	    .hidden = key->hidden, .detail = true, .latest = MODEL_NOBODY};
	struct model_app *grown =
	    array_grow(model->apps, model->app_count, sizeof(*grown));

	if (!grown)
		return NULL;
	model->apps = grown;
	new.exe = strdup(exe);
	new.name = strdup(key->name);
	if (!new.exe || !new.name ||
	    chain(&model->by_name, hash, model->app_count, &new.next) != 0) {
		free(new.exe);
		free(new.name);
		return NULL;
	}
	model->apps[model->app_count] = new;
	return &model->apps[model->app_count++];
}

static struct group_key key_of(const struct model *model, const struct tws_header *header,
			       bool hidden, char *buffer, size_t size)
{
	enum model_by by = (enum model_by)model->options.by;
	bool by_path = by == MODEL_BY_APP || by == MODEL_BY_EXE;

	return (struct group_key){.name = group_name(by, header, buffer, size),
				  .exe = by_path ? header->exe : "",
				  .hidden = hidden};
}

struct model_app *model_app(struct model *model, const struct tws_header *header,
			    bool hidden)
{
	char buffer[64];
	struct group_key key = key_of(model, header, hidden, buffer, sizeof(buffer));
	uint64_t hash = hash_group(&key);
	struct model_app *app = find_model_app(model, hash, &key);

	return app ? app : new_model_app(model, hash, &key, header->exe);
}

static void keep_shared(char *name, const char *other)
{
	if (strcmp(name, other) != 0)
		*name = '\0';
}

/* Where processes of a group have different names, the group has none of them. */
static void share_names(const struct model *model, struct model_app *app,
			const struct tws_header *header)
{
	const struct tws_names *names = &header->names;

	if (!app->named) {
		app->names = *names;
		app->uid = header->uid;
		app->named = true;
	}
	keep_shared(app->names.given, names->given);
	keep_shared(app->names.unit, names->unit);
	keep_shared(app->names.container, names->container);
	keep_shared(app->names.script, names->script);
	app->several_users |= app->uid != header->uid;
	model_keep_earlier(&app->since_realtime_ns,
			   window_since(model, header->created_realtime_ns));
}

/* ------------------------------------------------------------- destinations */

static struct model_destination *find_model_destination(struct model_app *app,
							uint64_t hash,
							const struct tws_address *address)
{
	const uint32_t *first = cookie_map_find(&app->by_address, hash);

	for (uint32_t i = first ? *first : NONE; i != NONE; i = app->destinations[i].next)
		if (tws_same_address(&app->destinations[i].address, address))
			return &app->destinations[i];
	return NULL;
}

struct model_destination *model_destination(struct model_app *app,
					    const struct tws_address *address)
{
	static const struct tws_address other;
	struct model_destination *destination, *grown;
	struct model_destination new = {0};
	uint64_t hash;

	if (address->family != TWS_IPV4 && address->family != TWS_IPV6)
		address = &other;
	hash = model_hash_address(address);
	destination = find_model_destination(app, hash, address);
	if (destination)
		return destination;
	if (app->destination_count >= MODEL_DESTINATIONS && address->family)
		return model_destination(app, &other);
	grown = array_grow(app->destinations, app->destination_count, sizeof(*grown));
	if (!grown)
		return NULL;
	app->destinations = grown;
	if (chain(&app->by_address, hash, app->destination_count, &new.next) != 0)
		return NULL;
	new.address = *address;
	app->destinations[app->destination_count] = new;
	return &app->destinations[app->destination_count++];
}

/* ----------------------------------------------------------------- segments */

static bool app_is_hidden(const struct model *model, const struct tws_header *header)
{
	if (model->options.pid && (pid_t)header->pid != model->options.pid)
		return true;
	return model->options.app && !group_is_called(header, model->options.app);
}

/* A later version's observer is not counted as one of ours. */
static uint32_t observer_of(const struct tws_header *header)
{
	return header->observer < TWS_OBSERVERS ? header->observer : TWS_OBSERVER_SHIM;
}

/* Totals of an older version do not say who observed: the shim did. */
static void count_folded(const struct model *model, struct model_app *app,
			 const struct segment *segment)
{
	uint64_t all = window_processes(model, segment, TWS_OBSERVER_SHIM), others = 0;

	for (uint32_t i = TWS_OBSERVER_SHIM + 1; i < TWS_OBSERVERS; i++) {
		uint64_t observed = window_processes(model, segment, i);

		app->observed[i] += observed;
		others += observed;
	}
	app->processes += all;
	app->observed[TWS_OBSERVER_SHIM] += all - others;
}

/* Called before the process is added. */
static void note_latest(const struct model *model, struct model_app *app,
			const struct tws_header *header)
{
	if (app->latest == MODEL_NOBODY ||
	    model->processes[app->latest].created_realtime_ns <=
		header->created_realtime_ns)
		app->latest = model->process_count;
}

static int add_process(struct model *model, const struct segment *segment, uint32_t app,
		       uint32_t *ret_index)
{
	const struct tws_header *header = &segment->header;
	struct model_process *grown;

	*ret_index = MODEL_NOBODY;
	if (header->state == TWS_SEGMENT_TOTALS) {
		count_folded(model, &model->apps[app], segment);
		return 0;
	}
	grown = array_grow(model->processes, model->process_count, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	model->processes = grown;
	model->apps[app].processes += window_has(model, segment);
	model->apps[app].observed[observer_of(header)] += window_has(model, segment);
	model->apps[app].alive += segment->life != PROCESS_DEAD;
	note_latest(model, &model->apps[app], header);
	*ret_index = model->process_count++;
	model->processes[*ret_index] = (struct model_process){
	    .pid = (pid_t)header->pid,
	    .start_time = header->start_time,
	    .app = app,
	    .image = header->image,
	    .uid = header->uid,
	    .parent = (pid_t)header->names.parent,
	    .is_here = header->pid_namespace == model->pid_namespace,
	    .life = segment->life,
	    .observer = observer_of(header),
	    .created_realtime_ns = header->created_realtime_ns,
	    .last_event_ns = header->heartbeat_ns,
	};
	return 0;
}

static void add_to_app_and_process(struct model *model, uint32_t app, uint32_t process,
				   const struct tws_counters *counters)
{
	join_add(&model->apps[app].counters, counters);
	if (process != MODEL_NOBODY)
		join_add(&model->processes[process].counters, counters);
}

/* The peak of a process is a counter of its own, not the sum over its destinations. */
static void add_process_counters(struct model *model, const struct segment *segment,
				 uint32_t app, uint32_t process)
{
	struct tws_counters counters = segment->process;

	add_to_app_and_process(model, app, process, &counters);
}

/* The gauges are of now, whatever the period. */
static void derive_gauges(struct segment *segment)
{
	uint64_t *value = segment->process.value;

	value[TWS_open] = value[TWS_connecting] = 0;
	join_derive(&segment->process); /* both are 0 in a valid segment */
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++)
		join_derive(&segment->destinations[i].counters);
}

/* Fills `indexes` with each destination's place in the application. */
static int take_destinations(struct model *model, struct segment *segment, uint32_t app,
			     uint32_t process, uint32_t *indexes)
{
	static const struct tws_address other;
	struct model_destination *destination;
	struct tws_destination *entry;
	struct tws_counters counters;
	uint64_t peak;

	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++) {
		entry = &segment->destinations[i];
		if (i && entry->state != TWS_DESTINATION_READY) {
			indexes[i] = indexes[0];
			continue;
		}
		/* Entry 0 is `other`, whatever address it carries. */
		destination =
		    model_destination(&model->apps[app], i ? &entry->address : &other);
		if (!destination)
			return -ENOMEM;
		indexes[i] = (uint32_t)(destination - model->apps[app].destinations);
		join_add(&destination->counters, &entry->counters);
		counters = entry->counters;
		peak = counters.value[TWS_peak_open];
		counters.value[TWS_peak_open] = 0;
		add_to_app_and_process(model, app, process, &counters);
		entry->counters.value[TWS_peak_open] = peak;
	}
	return 0;
}

/* Where another user's programs are not to be named. Returns the header. */
static const struct tws_header *hide_names(struct tws_header *header)
{
	char other[NAMING_SIZE];
	const char *named = naming_of_user(other, header->uid, header->exe);

	if (named == other) {
		header->names = (struct tws_names){0};
		snprintf(header->exe, sizeof(header->exe), "%s", named);
	}
	return header;
}

/* How many processes a segment stands for; in totals, as long as they may have TIME_WAIT
 * sockets. */
static uint64_t count_recent(const struct model *model, const struct tws_header *header)
{
	if (header->state != TWS_SEGMENT_TOTALS)
		return 1;
	return header->heartbeat_ns + MODEL_TIME_WAIT_NS >= model->table_ns
		   ? header->folded_processes
		   : 0;
}

/* Counts processes of another network namespace. Returns whether they are left out. */
static bool is_left_out(struct model *model, const struct segment *segment)
{
	const struct tws_header *header = &segment->header;

	if (!model->has_table || header->net_namespace == model->net_namespace)
		return false;
	model->other_namespace += count_recent(model, header);
	model->other_namespace_alive +=
	    header->state != TWS_SEGMENT_TOTALS && segment->life != PROCESS_DEAD;
	return model->options.here_only;
}

static int add_segment(struct model *model, struct segment *segment)
{
	bool hidden = app_is_hidden(model, hide_names(&segment->header));
	struct model_app *app = model_app(model, &segment->header, hidden);
	uint32_t *indexes =
	    calloc(segment->used[TWS_SECTION_DESTINATIONS] + 1, sizeof(*indexes));
	int result = app && indexes ? 0 : -ENOMEM;
	uint32_t process, index;

	if (result != 0)
		goto out;
	index = (uint32_t)(app - model->apps);
	share_names(model, app, &segment->header);
	app->short_lived_ms = segment->header.short_lived_ms;
	app->detail = app->detail && segment->header.detail;
	model_settle(model, segment);
	derive_gauges(segment);
	if (model->options.keep)
		result = baseline_keep(model->options.keep, segment);
	window_cut(model, segment, hidden);
	if (result == 0)
		result = add_process(model, segment, index, &process);
	if (result == 0) {
		add_process_counters(model, segment, index, process);
		result = take_destinations(model, segment, index, process, indexes);
	}
	if (result == 0 && !hidden)
		result = model_add_arms(model, segment);
	if (result == 0 && !hidden)
		result = model_note_rules(model, segment);
	if (result == 0)
		model_note_recent(model, segment, index, indexes, process);
	if (result == 0)
		result = model_join_time_wait(model, segment, index, indexes, process);
out:
	free(indexes);
	return result;
}

struct model_app *model_find(struct model *model, const struct tws_header *header)
{
	struct tws_header copy = *header;
	const struct tws_header *shown = hide_names(&copy);
	char buffer[64];
	struct group_key key =
	    key_of(model, shown, app_is_hidden(model, shown), buffer, sizeof(buffer));

	return find_model_app(model, hash_group(&key), &key);
}

int model_take(struct segment *segment, void *model)
{
	return is_left_out(model, segment) ? 0 : add_segment(model, segment);
}
