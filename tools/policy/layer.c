/* SPDX-License-Identifier: MIT */
#include "tools/policy/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/rundir.h"
#include "shim/shared/trust.h"
#include "tools/base/cli.h"
#include "tools/policy/store.h"
#include "tools/segments/dir_option.h"
#include "tools/segments/rundir.h"

#define SYSTEM_PATH TWS_SYSTEM_DIRECTORY "/" TWS_POLICY_DIRECTORY

const char *layer_name(const struct layer *layer)
{
	return layer->layer == TWS_LAYER_SYSTEM ? "the system's policy"
						: "the user's policy";
}

bool layer_is_named(const char *named)
{
	const char *given = getenv("TWSHIM_DIR");

	return named || (given && *given);
}

static int find_user(const char *named, struct layer *layer)
{
	size_t size = sizeof(layer->directory);
	int result = 0;

	layer->layer = TWS_LAYER_USER;
	layer->only_dir = layer_is_named(named);
	if (!named)
		result = tws_rundir_find(layer->directory, size);
	else if ((size_t)snprintf(layer->directory, size, "%s", named) >= size)
		result = -ENAMETOOLONG;
	if (result == 0 && (size_t)snprintf(layer->path, sizeof(layer->path),
					    "%.*s/" TWS_POLICY_DIRECTORY, PATH_MAX - 16,
					    layer->directory) >= sizeof(layer->path))
		result = -ENAMETOOLONG;
	return result;
}

int layer_of_user(const char *named, struct layer *ret_layer)
{
	int result = find_user(named, ret_layer);

	if (result == 0)
		return 0;
	return cli_fail(CLI_FAILURE,
			"run-time directory: %s: set TWSHIM_DIR, or --dir, to an "
			"absolute path on a tmpfs",
			strerror(-result));
}

void layer_of_system(struct layer *ret_layer)
{
	*ret_layer = (struct layer){.layer = TWS_LAYER_SYSTEM};
	strcpy(ret_layer->directory, TWS_SYSTEM_DIRECTORY);
	strcpy(ret_layer->path, SYSTEM_PATH);
}

bool layer_has_system(void)
{
	struct stat st;

	return lstat(SYSTEM_PATH, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == 0;
}

/* Whom the programs of the layer obey besides root: the owner of the place. */
static uint32_t obeyed;

static bool obeys(uint32_t owner)
{
	return owner == 0 || owner == obeyed;
}

static uint32_t owner_of(const struct layer *layer)
{
	struct stat st;

	if (layer->layer == TWS_LAYER_SYSTEM)
		return 0;
	return geteuid() == 0 && stat(layer->directory, &st) == 0 ? st.st_uid : geteuid();
}

static void refuse(struct layer *layer, const char *below)
{
	snprintf(layer->refused, sizeof(layer->refused),
		 "others can write %s%s: chown %u and chmod go-w it and the directories "
		 "above it",
		 layer->path, below, obeyed);
}

/* Asks what the programs ask before they obey. */
static bool is_obeyed(int directory, const char **ret_below)
{
	int fd = openat(directory, TWS_POLICY_CONTROL, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	bool file = fd >= 0 && tws_is_file_trusted(fd, obeys, &st);

	*ret_below = file ? "" : "/" TWS_POLICY_CONTROL;
	if (fd >= 0)
		close(fd);
	return file && tws_is_chain_trusted(directory, obeys);
}

static void judge(struct layer *layer, int directory)
{
	const char *below;

	if (is_obeyed(directory, &below))
		return;
	refuse(layer, below);
	free(layer->image);
	layer->image = NULL;
}

/* A directory that its user cannot even read. */
static int judge_closed(struct layer *layer, int error)
{
	struct stat st;

	if (error == -ENOENT)
		return 0;
	if (error != -EACCES || lstat(layer->path, &st) != 0 || obeys(st.st_uid))
		return error;
	refuse(layer, "");
	return 0;
}

static int fetch(struct layer *layer)
{
	int directory = tws_rundir_open(layer->path);
	int result;

	obeyed = owner_of(layer);
	if (directory < 0)
		return judge_closed(layer, directory);
	result = tws_policy_fetch(directory, &layer->image, &layer->control);
	if ((result == 0 && layer->image) || result == -EACCES)
		judge(layer, directory);
	close(directory);
	return *layer->refused ? 0 : result;
}

int layer_fetch(struct layer *layer)
{
	int result = fetch(layer);

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

void layer_format_time(uint64_t realtime_ns, char ret_text[LAYER_SINCE])
{
	time_t seconds = (time_t)(realtime_ns / 1000000000u);
	struct tm utc;

	if (!gmtime_r(&seconds, &utc) ||
	    strftime(ret_text, LAYER_SINCE, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		strcpy(ret_text, "unknown");
}

/* Root's programs obey the system's alone, unless a directory is named. */
static bool has_own(const struct layer *user)
{
	return user->only_dir || geteuid() != 0 || !layer_has_system();
}

int layers_find(const char *named, struct layer ret_layers[2])
{
	int status;

	ret_layers[0] = (struct layer){0};
	layer_of_system(&ret_layers[1]);
	if (named && dir_option_check(named) != 0)
		return CLI_FAILURE;
	status = layer_of_user(named, &ret_layers[0]);
	ret_layers[0].absent = status == 0 && !has_own(&ret_layers[0]);
	if (status == 0 && !ret_layers[0].absent)
		status = layer_fetch(&ret_layers[0]);
	return status ? status : layer_fetch(&ret_layers[1]);
}

void layers_free(struct layer layers[2])
{
	free(layers[0].image);
	free(layers[1].image);
}

const struct layer *layers_nearest(const struct layer layers[2])
{
	if (layers[0].image)
		return &layers[0];
	return layers[1].image ? &layers[1] : NULL;
}

const char *layers_directory(const struct layer layers[2])
{
	const struct layer *nearest = layers_nearest(layers);

	return nearest ? nearest->directory : layers[layers[0].absent].directory;
}

bool layers_describe(char *ret_text, size_t size)
{
	struct layer layers[2] = {{0}, {0}};
	const struct layer *nearest;
	char since[LAYER_SINCE];

	layer_of_system(&layers[1]);
	if (find_user(NULL, &layers[0]) == 0 && has_own(&layers[0]))
		fetch(&layers[0]);
	fetch(&layers[1]);
	nearest = layers_nearest(layers);
	if (nearest) {
		layer_format_time(nearest->control.since_realtime_ns, since);
		snprintf(ret_text, size, "%s, generation %llu, since %s",
			 layer_name(nearest),
			 (unsigned long long)nearest->image->generation, since);
	}
	layers_free(layers);
	return nearest != NULL;
}

bool layer_is_in_force(const char *named)
{
	struct layer layer = {0};
	bool found = find_user(named, &layer) == 0, ret;

	if (found && !has_own(&layer))
		layer_of_system(&layer);
	if (found)
		fetch(&layer);
	ret = layer.image != NULL;
	free(layer.image);
	return ret;
}
