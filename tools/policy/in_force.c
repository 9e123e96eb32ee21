/* SPDX-License-Identifier: MIT
 *
 * The policy in force: `policy load`, `show` and `clear`, which are about a user's layer
 * or the system's. The policy of a run is never touched here.
 */
#include "tools/policy/actions.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/describe.h"
#include "shim/shared/rundir.h"
#include "tools/base/cli.h"
#include "tools/base/json.h"
#include "tools/policy/followers.h"
#include "tools/policy/store.h"
#include "tools/segments/dir_option.h"
#include "tools/segments/prepare.h"
#include "tools/segments/rundir.h"

#define BY	    "--dir (or TWSHIM_DIR)"
#define SYSTEM_PATH TWS_SYSTEM_DIRECTORY "/" TWS_POLICY_DIRECTORY

struct layer {
	enum tws_policy_layer layer;
	char directory[PATH_MAX]; /* as it is named to the user: a place, or the system's
				   */
	char path[PATH_MAX];	  /* of its policy.ctl's directory */
	bool only_dir;		  /* of a directory that was named */
	struct tws_policy_image *image; /* in force there; NULL: none */
	struct tws_policy_control control;
};

static const char *layer_name(const struct layer *layer)
{
	return layer->layer == TWS_LAYER_SYSTEM ? "the system's policy"
						: "the user's policy";
}

static const char *given_directory(const struct policy_options *options)
{
	const char *given = getenv("TWSHIM_DIR");

	if (options->directory)
		return options->directory;
	return given && *given ? given : NULL;
}

static int find_user_layer(const struct policy_options *options, struct layer *ret_layer)
{
	int result = 0;

	ret_layer->layer = TWS_LAYER_USER;
	ret_layer->only_dir = given_directory(options) != NULL;
	if (!options->directory)
		result =
		    tws_rundir_find(ret_layer->directory, sizeof(ret_layer->directory));
	else if ((size_t)snprintf(ret_layer->directory, sizeof(ret_layer->directory),
				  "%s",
				  options->directory) >= sizeof(ret_layer->directory))
		result = -ENAMETOOLONG;
	if (result == 0 &&
	    (size_t)snprintf(ret_layer->path, sizeof(ret_layer->path),
			     "%.*s/" TWS_POLICY_DIRECTORY, PATH_MAX - 16,
			     ret_layer->directory) < sizeof(ret_layer->path))
		return 0;
	return cli_fail(CLI_FAILURE,
			"run-time directory: %s: set TWSHIM_DIR, or --dir, to an "
			"absolute path on a tmpfs",
			strerror(result ? -result : ENAMETOOLONG));
}

static void system_layer(struct layer *ret_layer)
{
	*ret_layer = (struct layer){.layer = TWS_LAYER_SYSTEM};
	strcpy(ret_layer->directory, TWS_SYSTEM_DIRECTORY);
	strcpy(ret_layer->path, SYSTEM_PATH);
}

static bool has_system_layer(void)
{
	struct stat st;

	return lstat(SYSTEM_PATH, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == 0;
}

/* The layer that load and clear are about: of a named directory, else for root the
 * system's, else the user's. */
static int find_target(const struct policy_options *options, struct layer *ret_layer)
{
	if (options->system && geteuid() != 0)
		return cli_fail(CLI_FAILURE,
				"--system: only root sets the system's policy: leave it "
				"out for your own");
	if (!options->system && (given_directory(options) || geteuid() != 0))
		return find_user_layer(options, ret_layer);
	prepare_places();
	if (options->system || has_system_layer()) {
		system_layer(ret_layer);
		return 0;
	}
	return find_user_layer(options, ret_layer);
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

static int fetch(struct layer *layer)
{
	int directory = tws_rundir_open(layer->path);
	int result = directory == -ENOENT ? 0 : directory;

	if (directory >= 0) {
		result = tws_policy_fetch(directory, &layer->image, &layer->control);
		close(directory);
	}
	if (result == -EBADMSG)
		return cli_fail(CLI_FAILURE,
				"%s: the policy in force is damaged: load one anew with "
				"`twshim policy load FILE`",
				layer->directory);
	if (result != 0)
		return cli_fail(CLI_FAILURE, "%s: %s: name the directory with --dir",
				layer->directory, strerror(-result));
	return 0;
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

static json_t *followers_json(const struct followers *followers)
{
	json_t *unreached = json_array();

	for (unsigned i = 0; i < followers->unreached_count && i < FOLLOWERS_NAMED; i++)
		json_array_append_new(
		    unreached,
		    json_pack("{s:i, s:o, s:s}", "pid", (int)followers->unreached[i].pid,
			      "name", print_json_text(followers->unreached[i].name),
			      "why", followers->unreached[i].why));
	return json_pack("{s:i, s:i, s:i, s:i, s:o}", "processes", (int)followers->all,
			 "followed_by", (int)followers->reach, "in_force_in",
			 (int)followers->now, "hidden_in", (int)followers->hidden,
			 "not_followed_by", unreached);
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
	status = fetch(&layer);
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
	printf("%s %s in %s: generation %llu, in force at each process's next "
	       "connection\n",
	       verb, layer_name(&layer), layer.directory, (unsigned long long)generation);
	followers_print(stdout, "  ", &followers);
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

/* The layers that a process of this user follows, nearest first. */
static int find_layers(const struct policy_options *options, struct layer layers[2])
{
	int status;

	layers[0] = (struct layer){0};
	if (options->directory && dir_option_check(options->directory) != 0)
		return CLI_FAILURE;
	status = find_user_layer(options, &layers[0]);
	system_layer(&layers[1]);
	for (int i = 0; i < 2 && status == 0; i++)
		status = fetch(&layers[i]);
	return status;
}

bool policy_is_in_force(const char *dir)
{
	const struct policy_options options = {.directory = dir};
	bool own = given_directory(&options) || geteuid() != 0 || !has_system_layer();
	struct layer layer = {0};
	int directory;
	bool ret;

	if (!own)
		system_layer(&layer);
	else if (tws_rundir_find(layer.directory, sizeof(layer.directory)) != 0 && !dir)
		return false;
	else
		snprintf(layer.path, sizeof(layer.path), "%.*s/" TWS_POLICY_DIRECTORY,
			 PATH_MAX - 16, dir ? dir : layer.directory);
	directory = tws_rundir_open(layer.path);
	if (directory < 0)
		return false;
	tws_policy_fetch(directory, &layer.image, &layer.control);
	close(directory);
	ret = layer.image != NULL;
	free(layer.image);
	return ret;
}

static void free_layers(struct layer layers[2])
{
	free(layers[0].image);
	free(layers[1].image);
}

static const struct layer *nearest(const struct layer layers[2])
{
	if (layers[0].image)
		return &layers[0];
	return layers[1].image ? &layers[1] : NULL;
}

static void print_in_force_now(const struct policy_options *options)
{
	struct layer layers[2] = {{0}, {0}};
	const struct layer *in_force;

	if (find_layers(options, layers) == 0) {
		in_force = nearest(layers);
		if (in_force)
			printf("now in force: %s, generation %llu in %s\n",
			       layer_name(in_force),
			       (unsigned long long)in_force->image->generation,
			       in_force->directory);
		else
			printf("no policy is in force now\n");
	}
	free_layers(layers);
}

int policy_clear(const struct policy_options *options)
{
	int status = put_in_force(options, NULL, "cleared");

	if (status == 0 && !options->json)
		print_in_force_now(options);
	return status;
}

/* A time, as 2025-11-23T21:23:00Z. */
static void format_time(uint64_t realtime_ns, char text[32])
{
	time_t seconds = (time_t)(realtime_ns / 1000000000u);
	struct tm utc;

	if (!gmtime_r(&seconds, &utc) ||
	    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		strcpy(text, "unknown");
}

static json_t *layer_json(const struct layer *layer)
{
	struct followers followers;
	char since[32];

	format_time(layer->control.since_realtime_ns, since);
	count_followers(layer, &followers);
	return json_pack("{s:s, s:o, s:I, s:b, s:s, s:o}", "layer",
			 layer->layer == TWS_LAYER_SYSTEM ? "system" : "user",
			 "directory", print_json_text(layer->directory), "generation",
			 (json_int_t)(layer->control.state >> 1), "in_force",
			 layer->image != NULL, "since", since, "followers",
			 followers_json(&followers));
}

static void print_layer(const struct layer *layer)
{
	struct followers followers;
	char since[32];

	if (!layer->control.state)
		return;
	format_time(layer->control.since_realtime_ns, since);
	printf("# %s in %s: generation %llu, %s since %s\n", layer_name(layer),
	       layer->directory, (unsigned long long)(layer->control.state >> 1),
	       layer->image ? "in force" : "cleared", since);
	count_followers(layer, &followers);
	if (layer->image)
		followers_print(stdout, "#   ", &followers);
}

static int show_json(const struct layer layers[2])
{
	const struct layer *in_force = nearest(layers);
	const struct layer *named = in_force ? in_force : &layers[0];
	const struct tws_policy_image *image = named->image;
	char compiled[32];
	json_t *object =
	    json_pack("{s:s, s:o, s:I, s:[o, o]}", "schema", "twshim.policy/2",
		      "directory", print_json_text(named->directory), "generation",
		      (json_int_t)(image ? image->generation : 0), "layers",
		      layer_json(&layers[0]), layer_json(&layers[1]));

	if (object && image) {
		format_time(image->compiled_realtime_ns, compiled);
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
	const struct layer *in_force = nearest(layers);
	char compiled[32];

	print_layer(&layers[0]);
	print_layer(&layers[1]);
	if (!in_force) {
		policy_print_none(layers[0].directory);
		return 0;
	}
	format_time(in_force->image->compiled_realtime_ns, compiled);
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
	int status = find_layers(options, layers);
	const struct layer *in_force = nearest(layers);

	*ret_image = NULL;
	snprintf(ret_path, size, "%s",
		 in_force ? in_force->directory : layers[0].directory);
	if (status == 0 && in_force) {
		*ret_image = in_force->image;
		layers[in_force - layers].image = NULL;
	}
	free_layers(layers);
	return status;
}

int policy_show(const struct policy_options *options)
{
	struct layer layers[2] = {{0}, {0}};
	int status = find_layers(options, layers);

	if (status == 0)
		status = options->json ? show_json(layers) : show_text(layers);
	free_layers(layers);
	return status;
}
