/* SPDX-License-Identifier: MIT
 *
 * The policy in force: `policy load`, `show` and `clear`, which are about a user's layer
 * or the system's. The policy of a run is never touched here.
 */
#include "tools/policy/actions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/describe.h"
#include "tools/base/cli.h"
#include "tools/base/json.h"
#include "tools/policy/followers.h"
#include "tools/policy/layer.h"
#include "tools/policy/store.h"
#include "tools/segments/prepare.h"
#include "tools/segments/rundir.h"

#define BY "--dir (or TWSHIM_DIR)"

/* The layer that load and clear are about: of a named directory, else for root the
 * system's, else the user's. */
static int find_target(const struct policy_options *options, struct layer *ret_layer)
{
	if (options->system && geteuid() != 0)
		return cli_fail(CLI_FAILURE,
				"--system: only root sets the system's policy: leave it "
				"out for your own");
	if (!options->system && (layer_is_named(options->directory) || geteuid() != 0))
		return layer_of_user(options->directory, ret_layer);
	prepare_places();
	if (options->system || layer_has_system()) {
		layer_of_system(ret_layer);
		return 0;
	}
	return layer_of_user(options->directory, ret_layer);
}

/* -------------------------------------------------------------- load and clear */

/* Where the image names a group, it may enter the user's place. */
static int open_to_group(const struct layer *layer, const struct tws_policy_image *image)
{
	int fd, result;

	if (!image || layer->layer != TWS_LAYER_USER || !image->settings.group)
		return 0;
	fd = tws_rundir_open(layer->directory);
	if (fd < 0)
		return fd;
	result = tws_policy_open_to_group(fd, image->settings.group);
	close(fd);
	return result;
}

static int store(const struct layer *layer, struct tws_policy_image *image)
{
	int result = 0;

	if (layer->layer == TWS_LAYER_USER) {
		if (tws_rundir_check(layer->directory) == -EXDEV)
			return -EXDEV;
		result = tws_rundir_create(layer->directory);
	}
	if (result == 0)
		result = open_to_group(layer, image);
	if (result == 0)
		result = tws_policy_store_at(
		    layer->path, image, layer->layer == TWS_LAYER_SYSTEM ? 0644 : 0600);
	return result;
}

static void count_followers(const struct layer *layer, struct followers *ret_followers)
{
	const struct followers_layer about = {
	    .layer = layer->layer,
	    .generation = layer->control.state & 1 ? layer->control.state >> 1 : 0,
	    .user = geteuid(),
	    .dir = layer->only_dir ? layer->directory : NULL,
	};

	if (followers_count(&about, ret_followers) != 0)
		*ret_followers = (struct followers){0};
}

static int put_in_force(const struct policy_options *options,
			struct tws_policy_image *image, const char *verb)
{
	struct layer layer = {0};
	struct followers followers;
	uint64_t generation;
	int result, status = find_target(options, &layer);

	if (status != 0)
		return status;
	result = store(&layer, image);
	if (result != 0)
		return tws_policy_fail_store(CLI_FAILURE, layer.directory, result, BY);
	status = layer_fetch(&layer);
	free(layer.image);
	if (status != 0)
		return status;
	generation = layer.control.state >> 1;
	count_followers(&layer, &followers);
	if (options->json)
		return policy_print_json(json_pack(
		    "{s:s, s:s, s:o, s:I, s:o}", "schema", "twshim.policy-load/2",
		    "layer", layer.layer == TWS_LAYER_SYSTEM ? "system" : "user",
		    "directory", print_json_text(layer.directory), "generation",
		    (json_int_t)generation, "followers", followers_json(&followers)));
	printf("%s %s in %s: generation %llu, %s each process's next connection\n", verb,
	       layer_name(&layer), layer.directory, (unsigned long long)generation,
	       image ? "in force at" : "out of force from");
	if (image)
		followers_print_reached(stdout, "  ", &followers);
	return 0;
}

int policy_load(const struct policy_options *options)
{
	struct tws_policy_image *image = policy_compile(options);
	int status = image ? put_in_force(options, image, "loaded") : CLI_FAILURE;

	free(image);
	return status;
}

/* ----------------------------------------------------------------------- layers */

static void print_in_force_now(const struct policy_options *options)
{
	struct layer layers[2] = {{0}, {0}};
	const struct layer *in_force;

	if (layers_find(options->directory, layers) == 0) {
		in_force = layers_nearest(layers);
		if (in_force)
			printf("now in force: %s, generation %llu in %s\n",
			       layer_name(in_force),
			       (unsigned long long)in_force->image->generation,
			       in_force->directory);
		else
			printf("no policy is in force now\n");
	}
	layers_free(layers);
}

int policy_clear(const struct policy_options *options)
{
	int status = put_in_force(options, NULL, "cleared");

	if (status == 0 && !options->json)
		print_in_force_now(options);
	return status;
}

static json_t *layer_json(const struct layer *layer)
{
	struct followers followers;
	char since[LAYER_SINCE];

	layer_format_time(layer->control.since_realtime_ns, since);
	count_followers(layer, &followers);
	return json_pack(
	    "{s:s, s:o, s:I, s:b, s:o?, s:s?, s:o}", "layer",
	    layer->layer == TWS_LAYER_SYSTEM ? "system" : "user", "directory",
	    print_json_text(layer->directory), "generation",
	    (json_int_t)(layer->control.state >> 1), "in_force", layer->image != NULL,
	    "refused", *layer->refused ? print_json_text(layer->refused) : NULL, "since",
	    layer->control.state ? since : NULL, "followers", followers_json(&followers));
}

static void print_layer(const struct layer *layer)
{
	struct followers followers;
	char since[LAYER_SINCE];

	if (*layer->refused)
		printf("# %s in %s is refused by programs: %s\n", layer_name(layer),
		       layer->directory, layer->refused);
	if (!layer->control.state || *layer->refused)
		return;
	layer_format_time(layer->control.since_realtime_ns, since);
	printf("# %s in %s: generation %llu, %s since %s\n", layer_name(layer),
	       layer->directory, (unsigned long long)(layer->control.state >> 1),
	       layer->image ? "in force" : "cleared", since);
	count_followers(layer, &followers);
	if (layer->image)
		followers_print(stdout, "#   ", &followers);
}

static int show_json(const struct layer layers[2])
{
	const struct layer *in_force = layers_nearest(layers);
	const struct tws_policy_image *image = in_force ? in_force->image : NULL;
	char compiled[LAYER_SINCE];
	json_t *list = json_array();
	json_t *object =
	    json_pack("{s:s, s:o, s:I, s:o}", "schema", "twshim.policy/2", "directory",
		      print_json_text(layers_directory(layers)), "generation",
		      (json_int_t)(image ? image->generation : 0), "layers", list);

	for (int i = layers[0].absent; i < 2; i++)
		json_array_append_new(list, layer_json(&layers[i]));

	if (object && image) {
		layer_format_time(image->compiled_realtime_ns, compiled);
		json_object_set_new(object, "compiled", json_string(compiled));
		json_object_set_new(object, "source",
				    print_json_text(tws_policy_at(image, image->source)));
		json_object_set_new(object, "policy", tws_describe_json(image));
	}
	return policy_print_json(object);
}

void policy_print_none(const char *path)
{
	printf("# no policy is in force in %s: all connections are observed only\n",
	       path);
}

static int show_text(const struct layer layers[2])
{
	const struct layer *in_force = layers_nearest(layers);
	char compiled[LAYER_SINCE];

	print_layer(&layers[0]);
	print_layer(&layers[1]);
	if (!in_force) {
		policy_print_none(layers_directory(layers));
		return 0;
	}
	layer_format_time(in_force->image->compiled_realtime_ns, compiled);
	printf("# generation %llu in %s, compiled %s from %s\n",
	       (unsigned long long)in_force->image->generation, in_force->directory,
	       compiled,
	       (const char *)tws_policy_at(in_force->image, in_force->image->source));
	policy_print(in_force->image);
	return 0;
}

int policy_in_force(const struct policy_options *options, char *ret_path, size_t size,
		    struct tws_policy_image **ret_image)
{
	struct layer layers[2] = {{0}, {0}};
	int status = layers_find(options->directory, layers);
	const struct layer *in_force = layers_nearest(layers);

	*ret_image = NULL;
	snprintf(ret_path, size, "%s", layers_directory(layers));
	if (status == 0 && in_force) {
		*ret_image = in_force->image;
		layers[in_force - layers].image = NULL;
	}
	layers_free(layers);
	return status;
}

int policy_show(const struct policy_options *options)
{
	struct layer layers[2] = {{0}, {0}};
	int status = layers_find(options->directory, layers);

	if (status == 0)
		status = options->json ? show_json(layers) : show_text(layers);
	layers_free(layers);
	return status;
}
