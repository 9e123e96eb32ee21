/* SPDX-License-Identifier: MIT */
#include "tools/policy/followers.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "shim/shared/names.h"
#include "tools/base/json.h"
#include "tools/base/print.h"
#include "tools/segments/reader.h"
#include "tools/segments/rundir.h"

/* The first ABI whose segments say which layers their process follows. */
#define FIRST_MINOR 6

static const char *const state_names[] = {
    [FOLLOWER_CURRENT] = "current",
    [FOLLOWER_BEHIND] = "behind",
    [FOLLOWER_NEARER] = "nearer",
    [FOLLOWER_UNREACHED] = "unreached",
};

/* --------------------------------------------------------------------- counting */

static const char *why_unreached(const struct tws_header *header,
				 enum tws_policy_layer layer)
{
	if (header->observer)
		return "it is observed from outside and has no shim: start it under "
		       "twshim run or env";
	if (header->abi_minor < FIRST_MINOR)
		return "it has the shim of a former release: restart it";
	if (layer == TWS_LAYER_USER)
		return "it began as root or has capabilities, and obeys the system's "
		       "policy alone";
	return "it began before root had made /run/twshim: restart it";
}

static void judge_follower(struct followers_group *found, uint64_t key,
			   const struct followers_layer *layer)
{
	if (key == tws_policy_key(layer->layer, layer->generation))
		return;
	if (key && key >> 56 < layer->layer) {
		found->state = FOLLOWER_NEARER;
		found->why = key >> 56 == TWS_LAYER_RUN ? "the policy of its run"
							: "the policy of its user";
		return;
	}
	found->state = FOLLOWER_BEHIND;
	found->why = key ? "the system's policy" : "no policy";
	if (key && key >> 56 == layer->layer) {
		found->why = "an older generation";
		found->generation = tws_policy_key_generation(key);
	}
}

static struct followers_group judge(const struct tws_header *header,
				    const struct followers_layer *layer)
{
	struct followers_group ret = {.state = FOLLOWER_CURRENT};

	print_escape(ret.app, sizeof(ret.app),
		     tws_names_app(&header->names, header->exe));
	if (header->policy_layers & 1u << layer->layer) {
		judge_follower(&ret, header->policy_generation, layer);
	} else {
		ret.state = FOLLOWER_UNREACHED;
		ret.why = why_unreached(header, layer->layer);
	}
	return ret;
}

static bool is_same(const struct followers_group *a, const struct followers_group *b)
{
	return a->state == b->state && a->generation == b->generation &&
	       a->why == b->why && !strcmp(a->app, b->app);
}

static void add(struct followers *followers, const struct followers_group *found,
		pid_t pid)
{
	struct followers_group *group = followers->groups;
	struct followers_group *end = group + followers->group_count;

	while (group < end && !is_same(group, found))
		group++;
	if (group == end && followers->group_count == FOLLOWERS_GROUPS) {
		followers->left_out++;
		return;
	}
	if (group == end) {
		*group = *found;
		followers->group_count++;
	}
	if (group->processes < FOLLOWERS_PIDS)
		group->pids[group->processes] = pid;
	group->processes++;
}

struct counting {
	const struct followers_layer *layer;
	struct followers *followers;
};

static int count_one(struct segment *segment, void *data)
{
	const struct tws_header *header = &segment->header;
	const struct counting *counting = data;
	struct followers *followers = counting->followers;
	struct followers_group found;

	if (segment->life == PROCESS_DEAD || header->state != TWS_SEGMENT_LIVE ||
	    (counting->layer->layer == TWS_LAYER_USER &&
	     header->uid != counting->layer->user))
		return 0;
	found = judge(header, counting->layer);
	followers->all++;
	followers->current += found.state == FOLLOWER_CURRENT;
	followers->reached += found.state <= FOLLOWER_BEHIND;
	add(followers, &found, (pid_t)header->pid);
	return 0;
}

int followers_count(const struct followers_layer *layer, struct followers *ret)
{
	struct counting counting = {layer, ret};
	struct reader reader;
	char path[PATH_MAX];
	int result = reader_init(&reader);

	*ret = (struct followers){0};
	reader.without = ~0u;
	if (result == 0 && layer->dir)
		result = reader_read(&reader, layer->dir, false, count_one, &counting);
	else if (result == 0)
		result = tws_rundir_find(path, sizeof(path));
	if (result == 0 && !layer->dir)
		result = reader_read_everywhere(&reader, path, count_one, &counting);
	reader_free(&reader);
	return result == -ENOENT ? 0 : result;
}

/* --------------------------------------------------------------------- printing */

static void print_pids(FILE *out, const struct followers_group *group)
{
	fputs(" (pid", out);
	for (unsigned i = 0; i < group->processes && i < FOLLOWERS_PIDS; i++)
		fprintf(out, "%s %d", i ? "," : "", (int)group->pids[i]);
	fputs(group->processes > FOLLOWERS_PIDS ? ", ...)" : ")", out);
}

static void print_group(FILE *out, const char *indent,
			const struct followers_group *group)
{
	const char *s = group->processes == 1 ? "s" : "";

	fprintf(out, "%s%u %s", indent, group->processes, group->app);
	print_pids(out, group);
	if (group->state == FOLLOWER_UNREACHED)
		fprintf(out, " not reached: %s\n", group->why);
	else if (group->state == FOLLOWER_NEARER)
		fprintf(out, " obey%s %s\n", s, group->why);
	else if (group->generation)
		fprintf(out, " keep%s generation %llu until the next connection\n", s,
			(unsigned long long)group->generation);
	else
		fprintf(out, " obey%s %s until the next connection\n", s, group->why);
}

static void print_from(FILE *out, const char *indent, const struct followers *followers,
		       enum follower_state least)
{
	for (unsigned i = 0; i < followers->group_count; i++)
		if (followers->groups[i].state >= least)
			print_group(out, indent, &followers->groups[i]);
	if (followers->left_out)
		fprintf(out, "%sand %u of other applications\n", indent,
			followers->left_out);
}

static const char *word_for(const struct followers *followers)
{
	return followers->all == 1 ? "process" : "processes";
}

void followers_print(FILE *out, const char *indent, const struct followers *followers)
{
	if (!followers->all)
		return;
	fprintf(out, "%sobeyed by %u of %u running %s\n", indent, followers->current,
		followers->all, word_for(followers));
	print_from(out, indent, followers, FOLLOWER_BEHIND);
}

void followers_print_reached(FILE *out, const char *indent,
			     const struct followers *followers)
{
	if (!followers->all) {
		fprintf(out,
			"%sno process that it could reach is running under the shim\n",
			indent);
		return;
	}
	fprintf(out, "%sreaches %u of %u running %s\n", indent, followers->reached,
		followers->all, word_for(followers));
	print_from(out, indent, followers, FOLLOWER_NEARER);
}

static json_t *group_json(const struct followers_group *group)
{
	json_t *pids = json_array();

	for (unsigned i = 0; i < group->processes && i < FOLLOWERS_PIDS; i++)
		json_array_append_new(pids, json_integer(group->pids[i]));
	return json_pack("{s:o, s:s, s:i, s:o, s:I, s:s?}", "app",
			 print_json_text(group->app), "state", state_names[group->state],
			 "processes", (int)group->processes, "pids", pids, "generation",
			 (json_int_t)group->generation, "why", group->why);
}

json_t *followers_json(const struct followers *followers)
{
	json_t *groups = json_array();

	for (unsigned i = 0; i < followers->group_count; i++)
		json_array_append_new(groups, group_json(&followers->groups[i]));
	return json_pack("{s:i, s:i, s:i, s:i, s:o}", "processes", (int)followers->all,
			 "obeyed_by", (int)followers->current, "reached",
			 (int)followers->reached, "left_out", (int)followers->left_out,
			 "groups", groups);
}
