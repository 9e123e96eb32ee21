/* SPDX-License-Identifier: MIT
 *
 * The files are read with pread(), so that one that is truncated is an error and no
 * SIGBUS.
 */
#include "tools/observe/policy_layers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "shim/shared/rundir.h"
#include "shim/shared/trust.h"

#define LOOK_NS		1000000u  /* what is in force is asked so often at most */
#define AGAIN_NS	50000000u /* files that are not there yet are looked for */
#define FILE_FLAGS	(O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
#define DIRECTORY_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* ---------------------------------------------------------------------- opening */

static bool obeys_root(uint32_t owner)
{
	return owner == 0;
}

static bool obeys_user(uint32_t owner)
{
	return owner == 0 || owner == geteuid();
}

/* Closes the directory. */
static int open_control(int directory, tws_obeys obeys)
{
	int fd = directory < 0 ? -1 : openat(directory, TWS_POLICY_CONTROL, FILE_FLAGS);
	struct stat stat;

	if (fd >= 0 && !(tws_is_file_trusted(fd, obeys, &stat) &&
			 tws_is_chain_trusted(directory, obeys))) {
		close(fd);
		fd = -1;
	}
	if (directory >= 0)
		close(directory);
	return fd;
}

static int open_run(const struct policy_layers *layers)
{
	char name[128];
	int fd;

	if (!*layers->run)
		return -1;
	snprintf(name, sizeof(name), TWS_SYSTEM_DIRECTORY "/run/%s", layers->run);
	fd = open_control(open(name, DIRECTORY_FLAGS), obeys_root);
	if (fd >= 0)
		return fd;
	snprintf(name, sizeof(name), TWS_RUN_PREFIX "%s", layers->run);
	return open_control(openat(layers->place, name, DIRECTORY_FLAGS), obeys_user);
}

/* Root's default is the system's policy: it has a layer of its own only where
 * $TWSHIM_DIR names a directory, or where there is no system's. */
static bool has_own(const struct policy_layers *layers)
{
	const char *given = getenv("TWSHIM_DIR");

	return geteuid() != 0 || (given && *given) ||
	       layers->control[TWS_LAYER_SYSTEM] < 0;
}

static int open_layer(const struct policy_layers *layers, enum tws_policy_layer layer)
{
	static const char system[] = TWS_SYSTEM_DIRECTORY "/" TWS_POLICY_DIRECTORY;

	if (layer == TWS_LAYER_RUN)
		return open_run(layers);
	if (layer == TWS_LAYER_SYSTEM)
		return open_control(open(system, DIRECTORY_FLAGS), obeys_root);
	if (!has_own(layers))
		return -1;
	return open_control(openat(layers->place, TWS_POLICY_DIRECTORY, DIRECTORY_FLAGS),
			    obeys_user);
}

/* The system's first: whether there is one decides about root's own. */
static void open_missing(struct policy_layers *layers)
{
	layers->opened_ns = tws_now();
	for (int layer = TWS_LAYERS; layer-- > 0;) {
		if (layers->control[layer] < 0)
			layers->control[layer] =
			    open_layer(layers, (enum tws_policy_layer)layer);
		if (layers->control[layer] >= 0)
			layers->followed |= 1u << layer;
	}
}

void policy_layers_init(struct policy_layers *ret_layers)
{
	*ret_layers = (struct policy_layers){.place = -1};
	for (int layer = 0; layer < TWS_LAYERS; layer++)
		ret_layers->control[layer] = -1;
}

void policy_layers_open(struct policy_layers *ret_layers,
			const struct tws_policy_image *given, uint64_t key, int place,
			const uint8_t *run)
{
	policy_layers_init(ret_layers);
	ret_layers->place = place;
	ret_layers->given = given != NULL;
	if (given) {
		ret_layers->image = given;
		ret_layers->key = key;
		ret_layers->followed = 1u << TWS_LAYER_RUN;
		return;
	}
	if (run && tws_run_is_set(run))
		tws_run_tag(run, ret_layers->run);
	open_missing(ret_layers);
	policy_layers_look(ret_layers);
}

void policy_layers_close(struct policy_layers *layers)
{
	for (int layer = 0; layer < TWS_LAYERS; layer++)
		if (layers->control[layer] >= 0)
			close(layers->control[layer]);
	if (!layers->given)
		free((void *)(uintptr_t)layers->image);
}

/* ---------------------------------------------------------------------- reading */

static bool read_at(int fd, void *ret_bytes, size_t size, uint64_t offset)
{
	return pread(fd, ret_bytes, size, (off_t)offset) == (ssize_t)size;
}

/* NULL: it is damaged, or was replaced meanwhile. */
static struct tws_policy_image *read_image(int fd, uint64_t generation)
{
	const uint64_t slot = tws_policy_slot(generation);
	struct tws_policy_image head, *image;

	if (!read_at(fd, &head, sizeof(head), slot) || head.size < sizeof(head) ||
	    head.size > TWS_POLICY_MAX_SIZE)
		return NULL;
	image = malloc(head.size);
	if (image && read_at(fd, image, head.size, slot) &&
	    !tws_policy_validate(image, head.size) && image->generation == generation)
		return image;
	free(image);
	return NULL;
}

/* The nearest layer in force; its key, or 0: none is. */
static uint64_t find_in_force(const struct policy_layers *layers, int *ret_fd)
{
	struct tws_policy_control control;

	for (int layer = 0; layer < TWS_LAYERS; layer++) {
		*ret_fd = layers->control[layer];
		if (*ret_fd >= 0 && read_at(*ret_fd, &control, sizeof(control), 0) &&
		    control.state & 1)
			return tws_policy_key((enum tws_policy_layer)layer,
					      control.state >> 1);
	}
	return 0;
}

bool policy_layers_look(struct policy_layers *layers)
{
	const uint32_t followed = layers->followed;
	const uint64_t now = tws_now();
	struct tws_policy_image *image = NULL;
	uint64_t key;
	int fd;

	if (layers->given || now - layers->looked_ns < LOOK_NS)
		return false;
	layers->looked_ns = now;
	if (now - layers->opened_ns > AGAIN_NS)
		open_missing(layers);
	key = find_in_force(layers, &fd);
	if (key == layers->key)
		return layers->followed != followed;
	if (key)
		image = read_image(fd, tws_policy_key_generation(key));
	if (key && !image)
		return layers->followed != followed; /* the next call looks again */
	free((void *)(uintptr_t)layers->image);
	layers->image = image;
	layers->key = key;
	return true;
}
