/* SPDX-License-Identifier: MIT */
#include "tools/policy/followers.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "tools/base/print.h"
#include "tools/segments/reader.h"
#include "tools/segments/rundir.h"

/* The first ABI whose segments say which layers their process follows. */
#define FIRST_MINOR 3

struct counting {
	const struct followers_layer *layer;
	struct followers *followers;
};

static const char *why_unreached(const struct tws_header *header,
				 enum tws_policy_layer layer)
{
	if (header->abi_minor < FIRST_MINOR)
		return "it has the shim of a former release: restart it";
	if (header->observer)
		return "it is observed from outside, and no shim is in it";
	if (layer == TWS_LAYER_USER)
		return "it began as another user, or has capabilities";
	return "it began before this layer was there: restart it";
}

static void note_unreached(struct followers *followers, const struct tws_header *header,
			   enum tws_policy_layer layer)
{
	struct followers_process *at = &followers->unreached[followers->unreached_count];
	const char *slash = strrchr(header->exe, '/');

	if (followers->unreached_count++ >= FOLLOWERS_NAMED)
		return;
	at->pid = (pid_t)header->pid;
	at->why = why_unreached(header, layer);
	print_escape(at->name, sizeof(at->name), slash ? slash + 1 : header->exe);
}

static int count_one(struct segment *segment, void *data)
{
	const struct tws_header *header = &segment->header;
	struct counting *counting = data;
	const struct followers_layer *layer = counting->layer;
	struct followers *followers = counting->followers;
	uint64_t key = header->policy_generation;

	if (segment->life == PROCESS_DEAD || header->state != TWS_SEGMENT_LIVE ||
	    (layer->layer == TWS_LAYER_USER && header->uid != layer->user))
		return 0;
	followers->all++;
	if (!(header->policy_layers & 1u << layer->layer)) {
		note_unreached(followers, header, layer->layer);
		return 0;
	}
	followers->reach++;
	followers->now += key == tws_policy_key(layer->layer, layer->generation);
	followers->hidden += key && key >> 56 < layer->layer;
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

void followers_print(FILE *out, const char *indent, const struct followers *followers)
{
	if (!followers->all)
		return;
	fprintf(out, "%sfollowed by %u of %u running process%s", indent, followers->reach,
		followers->all, followers->all == 1 ? "" : "es");
	if (followers->hidden)
		fprintf(out, "; %u obey%s a nearer policy", followers->hidden,
			followers->hidden == 1 ? "s" : "");
	if (followers->now < followers->reach - followers->hidden)
		fprintf(out, "; %u will at the next connection",
			followers->reach - followers->hidden - followers->now);
	fputc('\n', out);
	for (unsigned i = 0; i < followers->unreached_count && i < FOLLOWERS_NAMED; i++)
		fprintf(out, "%snot followed by %s (%d): %s\n", indent,
			followers->unreached[i].name, (int)followers->unreached[i].pid,
			followers->unreached[i].why);
	if (followers->unreached_count > FOLLOWERS_NAMED)
		fprintf(out, "%snor by %u more\n", indent,
			followers->unreached_count - FOLLOWERS_NAMED);
}
