/* SPDX-License-Identifier: MIT
 *
 * `twshim owners` as JSON: schema twshim.owners/1.
 */
#include <errno.h>
#include <string.h>

#include "tools/base/json.h"
#include "tools/model/owners.h"
#include "tools/report/sightings.h"
#include "tools/base/print.h"

static const char *const kinds[] = {
    [OWNERS_KNOWN] = "known",
    [OWNERS_OUTGOING] = "outgoing",
    [OWNERS_INCOMING] = "incoming",
};

static json_t *address_or_null(const struct tws_address *address)
{
	char buffer[PRINT_ADDRESS_SIZE];

	return address->family ? json_string(print_address(buffer, address))
			       : json_null();
}

static json_t *pid(const struct owners *owners, const struct owners_group *group)
{
	if (group->process == MODEL_NOBODY)
		return json_null();
	return json_integer(owners->model->processes[group->process].pid);
}

static const char *life(const struct owners *owners, const struct owners_group *group)
{
	static const char *const names[] = {
	    [PROCESS_ALIVE] = "alive",
	    [PROCESS_DEAD] = "exited",
	    [PROCESS_UNKNOWN] = "unknown",
	};

	return group->process == MODEL_NOBODY
		   ? "exited"
		   : names[owners->model->processes[group->process].life];
}

static json_t *exited(const struct owners *owners, const struct owners_group *group)
{
	double ago = owners_exited_s(owners, group);

	return ago >= 0 ? json_real(ago) : json_null();
}

static json_t *owner(const struct owners *owners, const struct owners_group *group)
{
	const struct model_app *app = &owners->model->apps[group->app];

	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:f, s:f, s:s, s:o}", "app",
			 print_json_text(app->name), "exe", print_json_text(app->exe),
			 "pid", pid(owners, group), "to", address_or_null(&group->to),
			 "count", (json_int_t)group->count, "oldest_leaves_s",
			 group->oldest_leaves_ms / 1e3, "newest_leaves_s",
			 group->newest_leaves_ms / 1e3, "process", life(owners, group),
			 "exited_s", exited(owners, group));
}

static json_t *unowned(const struct owners_group *group)
{
	return json_pack(
	    "{s:s, s:o, s:o, s:I, s:f, s:f}", "looks", kinds[group->kind], "to",
	    address_or_null(&group->to), "local_port",
	    group->local_port ? json_integer(group->local_port) : json_null(), "count",
	    (json_int_t)group->count, "oldest_leaves_s", group->oldest_leaves_ms / 1e3,
	    "newest_leaves_s", group->newest_leaves_ms / 1e3);
}

/* Connections that a process accepted. */
static json_t *incoming(const struct owners_group *group)
{
	return json_pack(
	    "{s:o, s:o, s:I, s:I, s:f, s:f}", "app",
	    *group->listener_name ? print_json_text(group->listener_name) : json_null(),
	    "pid", group->listener ? json_integer(group->listener) : json_null(),
	    "local_port", (json_int_t)group->local_port, "count",
	    (json_int_t)group->count, "oldest_leaves_s", group->oldest_leaves_ms / 1e3,
	    "newest_leaves_s", group->newest_leaves_ms / 1e3);
}

static json_t *group_object(const struct owners *owners, const struct owners_group *group)
{
	switch (owners_part_of(group)) {
	case OWNERS_PART_KNOWN:
		return owner(owners, group);
	case OWNERS_PART_INCOMING:
		return incoming(group);
	default:
		return unowned(group);
	}
}

static json_t *groups(const struct owners *owners, enum owners_part part)
{
	const struct owners_group *group;
	json_t *array = json_array();

	for (size_t i = 0; array && i < owners->count; i++) {
		group = &owners->groups[i];
		if (owners_part_of(group) == part &&
		    json_array_append_new(array, group_object(owners, group)) != 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}

static json_t *socket_object(const struct owners *owners, size_t index)
{
	const struct kernel_socket *socket = &owners->model->table.sockets[index];
	const struct owners_group *group = &owners->groups[owners->group_of[index]];
	bool known = group->kind == OWNERS_KNOWN;

	return json_pack(
	    "{s:o, s:o, s:s, s:o, s:o, s:f}", "app",
	    known ? print_json_text(owners->model->apps[group->app].name) : json_null(),
	    "pid", pid(owners, group), "looks", kinds[group->kind], "from",
	    address_or_null(&socket->local), "to", address_or_null(&socket->remote),
	    "leaves_s", socket->expires_ms / 1e3);
}

static json_t *sockets(const struct owners *owners)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < owners->model->table.count; i++) {
		if (owners->group_of[i] == UINT32_MAX ||
		    json_array_append_new(array, socket_object(owners, i)) == 0)
			continue;
		json_decref(array);
		array = NULL;
	}
	return array;
}

int owners_print_json(FILE *out, const struct owners *owners, bool all,
		      const struct sightings *seen)
{
	const struct model *model = owners->model;
	json_t *object =
	    json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "schema",
		      "twshim.owners/1", "time_wait", (json_int_t)model->kernel.time_wait,
		      "owned", (json_int_t)model->kernel.owned, "incoming",
		      (json_int_t)model->kernel.incoming, "unowned",
		      (json_int_t)(model->kernel.unowned), "owners",
		      groups(owners, OWNERS_PART_KNOWN), "incoming_groups",
		      groups(owners, OWNERS_PART_INCOMING), "unowned_groups",
		      groups(owners, OWNERS_PART_UNOWNED));

	if (object && all && json_object_set_new(object, "sockets", sockets(owners))) {
		json_decref(object);
		return -ENOMEM;
	}
	if (object && seen &&
	    json_object_set_new(object, "seen", sightings_json(seen, owners))) {
		json_decref(object);
		return -ENOMEM;
	}
	return print_json(out, object, JSON_INDENT(1) | JSON_REAL_PRECISION(10));
}
