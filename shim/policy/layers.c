/* SPDX-License-Identifier: MIT
 *
 * Finds the file of each layer, looks who could write it, and maps it. Nothing is opened
 * again after that, so that a policy stays live through setuid(), chroot() and sandboxes.
 */
#include "shim/policy/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/book/books.h"
#include "shim/book/identity.h"
#include "shim/book/memory.h"
#include "shim/book/publish.h"
#include "shim/book/self.h"
#include "shim/shared/newer.h"
#include "shim/shared/rundir.h"
#include "shim/shared/temporary.h"
#include "shim/shared/text.h"
#include "shim/shared/trust.h"

#define AGAIN_NS 1000000000u /* looks for a file that was truncated */

#define FILE_FLAGS	(O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
#define DIRECTORY_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static const uint64_t no_state;

TWS_HOT_DATA const uint64_t *tws_layer_state[TWS_LAYERS] = {&no_state, &no_state,
							    &no_state};
TWS_HOT_DATA uint64_t tws_layers_checked_ns;

static struct tws_policy_control *controls[TWS_LAYERS]; /* atomic */
static uint64_t again_ns[TWS_LAYERS];			/* atomic; 0: the file is whole */
static bool refused;					/* atomic; counted already */
static bool sought;					/* atomic; all were looked for */

/* --------------------------------------------------------------------- trust */

static bool obeys(uint32_t owner)
{
	return tws_identity_obeys(owner ? tws_identity_user() : 0, owner);
}

static void note_refused(void)
{
	if (!__atomic_exchange_n(&refused, true, __ATOMIC_RELAXED))
		tws_count_process(TWS_policy_image_refused);
}

static bool is_file_trusted(int fd, struct stat *ret_stat)
{
	return tws_is_file_trusted(fd, obeys, ret_stat);
}

/* Root's files have fixed paths: only root can change what a path of root's directories
 * means, so no descriptors are needed. Up to the root of their file system. */
static bool is_roots_path(const char *file, uint64_t device)
{
	struct stat stat = {0};
	char path[96] = "";
	size_t length = strlen(file);

	memcpy(path, file, length < sizeof(path) ? length : 0);
	while (length > 1) {
		while (length > 1 && path[length - 1] != '/')
			length--;
		path[length > 1 ? --length : length] = '\0';
		if (tws_sys4(SYS_newfstatat, AT_FDCWD, path, &stat,
			     AT_SYMLINK_NOFOLLOW) != 0)
			return false;
		if (stat.st_dev != device)
			return true;
		if (!S_ISDIR(stat.st_mode) || stat.st_uid != 0 ||
		    stat.st_mode & (S_IWGRP | S_IWOTH))
			return false;
	}
	return true;
}

/* ----------------------------------------------------------------- directories */

static int open_below(int above, const char *name)
{
	return (int)tws_sys4(SYS_openat, above, name, DIRECTORY_FLAGS, 0);
}

/* Opens the directory of an ordinary user's run. */
static int open_run(void)
{
	char name[64];
	struct tws_text text = tws_text_begin(name, sizeof(name));
	int place = tws_publish_directory(false), fd;

	if (place < 0)
		return place;
	tws_text_add(&text, TWS_RUN_PREFIX);
	tws_text_add(&text, tws_self.tag);
	fd = open_below(place, name);
	tws_sys1(SYS_close, place);
	return fd;
}

/* The file must be there when a policy is loaded: it is not looked for again. It appears
 * whole: another process, or thread, that came upon a part of it would refuse it. */
static void make_control(int directory)
{
	char temporary[TWS_TEMPORARY_SIZE];
	int fd;

	if (tws_sys3(SYS_faccessat, directory, TWS_POLICY_CONTROL, 0) != -ENOENT ||
	    !tws_may_write(TWS_POLICY_FILE_SIZE))
		return;
	fd = tws_temporary_make(directory, temporary);
	if (fd < 0)
		return;
	if (tws_fallocate(fd, TWS_POLICY_PAGE) != 0 ||
	    tws_sys2(SYS_ftruncate, fd, TWS_POLICY_FILE_SIZE) != 0 ||
	    tws_sys5(SYS_renameat2, directory, temporary, directory, TWS_POLICY_CONTROL,
		     RENAME_NOREPLACE) != 0)
		tws_sys3(SYS_unlinkat, directory, temporary, 0);
	tws_sys1(SYS_close, fd);
}

static int open_users(bool make)
{
	int place = tws_publish_directory(make);
	int fd;

	if (place < 0)
		return place;
	if (make)
		tws_sys3(SYS_mkdirat, place, TWS_POLICY_DIRECTORY, 0700);
	fd = open_below(place, TWS_POLICY_DIRECTORY);
	tws_sys1(SYS_close, place);
	if (fd >= 0 && make)
		make_control(fd);
	return fd;
}

/* --------------------------------------------------------------------- mapping */

/* Maps the file over the mapping at `at`, or as a new mapping if it is NULL. */
static struct tws_policy_control *map_file(int fd, struct tws_policy_control *at)
{
	return tws_mapping(tws_sys6(SYS_mmap, (long)(uintptr_t)at, TWS_POLICY_FILE_SIZE,
				    PROT_READ, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0));
}

/* An empty page (no policy) in the place of a file that was truncated. */
static void map_nothing(struct tws_policy_control *at)
{
	tws_sys6(SYS_mmap, (long)(uintptr_t)at, TWS_POLICY_FILE_SIZE, PROT_READ,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static struct tws_policy_control *map_in(int directory, struct tws_policy_control *at)
{
	int fd = (int)tws_sys4(SYS_openat, directory, TWS_POLICY_CONTROL, FILE_FLAGS, 0);
	struct stat stat = {0};
	struct tws_policy_control *ret = NULL;

	if (fd >= 0 && is_file_trusted(fd, &stat) &&
	    tws_is_chain_trusted(directory, obeys))
		ret = map_file(fd, at);
	else if (fd >= 0 || fd == -EACCES || fd == -ELOOP)
		note_refused();
	if (fd >= 0)
		tws_sys1(SYS_close, fd);
	return ret;
}

/* One open, since a process that began as root does this at its start. */
static struct tws_policy_control *map_roots(const char *path,
					    struct tws_policy_control *at)
{
	int fd = (int)tws_sys4(SYS_openat, AT_FDCWD, path, FILE_FLAGS, 0);
	struct stat stat = {0};
	struct tws_policy_control *ret = NULL;

	if (fd < 0)
		return NULL;
	if (is_file_trusted(fd, &stat) && stat.st_uid == 0 &&
	    is_roots_path(path, stat.st_dev))
		ret = map_file(fd, at);
	else if (stat.st_uid == 0) /* in a user namespace, root's is nobody's */
		note_refused();
	tws_sys1(SYS_close, fd);
	return ret;
}

static struct tws_policy_control *map_roots_run(struct tws_policy_control *at)
{
	char path[96];
	struct tws_text text = tws_text_begin(path, sizeof(path));

	tws_text_add(&text, TWS_SYSTEM_DIRECTORY "/run/");
	tws_text_add(&text, tws_self.tag);
	tws_text_add(&text, "/" TWS_POLICY_CONTROL);
	return map_roots(path, at);
}

static struct tws_policy_control *map(enum tws_policy_layer layer, bool make,
				      struct tws_policy_control *at)
{
	struct tws_policy_control *ret = NULL;
	int directory;

	if (layer == TWS_LAYER_SYSTEM)
		return map_roots(TWS_SYSTEM_DIRECTORY "/" TWS_POLICY_DIRECTORY
						      "/" TWS_POLICY_CONTROL,
				 at);
	if (layer == TWS_LAYER_RUN && !tws_self.tag[0])
		return NULL;
	if (layer == TWS_LAYER_RUN)
		ret = map_roots_run(at);
	if (ret)
		return ret;
	directory = layer == TWS_LAYER_RUN ? open_run() : open_users(make);
	if (directory < 0)
		return NULL;
	ret = map_in(directory, at);
	tws_sys1(SYS_close, directory);
	return ret;
}

static void map_layer(enum tws_policy_layer layer, bool make)
{
	struct tws_policy_control *none = NULL, *made;

	if (__atomic_load_n(&controls[layer], __ATOMIC_ACQUIRE))
		return;
	made = map(layer, make, NULL);
	if (!made)
		return;
	if (__atomic_compare_exchange_n(&controls[layer], &none, made, false,
					__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		__atomic_store_n(&tws_layer_state[layer], &made->state, __ATOMIC_RELEASE);
	else
		tws_sys2(SYS_munmap, made, TWS_POLICY_FILE_SIZE);
}

void tws_layers_begin(void)
{
	if (getauxval(AT_EUID) != 0)
		return;
	map_layer(TWS_LAYER_SYSTEM, false);
	if (tws_self.tag[0])
		map_layer(TWS_LAYER_RUN, false);
	if (tws_self.directory[0])
		map_layer(TWS_LAYER_USER, false);
}

/* Root's default is the system's policy, so that a layer of its own is not made where
 * there is one. */
static bool may_have_layer(uint32_t user)
{
	if (user == TWS_NO_USER || !tws_identity_obeys(user, user))
		return false;
	return user != 0 || tws_self.directory[0] ||
	       !__atomic_load_n(&controls[TWS_LAYER_SYSTEM], __ATOMIC_ACQUIRE);
}

static void complete(bool make)
{
	map_layer(TWS_LAYER_SYSTEM, false);
	map_layer(TWS_LAYER_RUN, false);
	if (!__atomic_load_n(&controls[TWS_LAYER_USER], __ATOMIC_ACQUIRE) &&
	    may_have_layer(tws_identity_user()))
		map_layer(TWS_LAYER_USER, make);
}

void tws_layers_seek(void)
{
	if (!__atomic_exchange_n(&sought, true, __ATOMIC_RELAXED))
		complete(false);
}

void tws_layers_complete(void)
{
	__atomic_store_n(&sought, true, __ATOMIC_RELAXED);
	complete(true);
}

uint32_t tws_layers_followed(void)
{
	uint32_t ret = 0;

	for (unsigned layer = 0; layer < TWS_LAYERS; layer++)
		if (__atomic_load_n(&controls[layer], __ATOMIC_ACQUIRE))
			ret |= 1u << layer;
	return ret;
}

/* ------------------------------------------------------------------ truncation */

/* Whether the end is missing, and perhaps more before it. */
static bool is_cut(const void *at, uint64_t size)
{
	return tws_memory_read((uintptr_t)at + size - 1) == -EFAULT;
}

/* Whether the file is whole again. */
static bool map_again(enum tws_policy_layer layer, struct tws_policy_control *at)
{
	bool ret = map(layer, false, at) && !is_cut(at, TWS_POLICY_PAGE);

	if (!ret)
		map_nothing(at); /* also where MAP_FIXED took the page and gave none */
	return ret;
}

static void look(enum tws_policy_layer layer, uint64_t now)
{
	struct tws_policy_control *at =
	    __atomic_load_n(&controls[layer], __ATOMIC_ACQUIRE);
	uint64_t again = __atomic_load_n(&again_ns[layer], __ATOMIC_ACQUIRE);

	if (!at)
		return;
	if (!again && is_cut(at, TWS_POLICY_PAGE)) {
		map_nothing(at);
		__atomic_store_n(&again_ns[layer], now + AGAIN_NS, __ATOMIC_RELEASE);
	} else if (again && now >= again &&
		   __atomic_compare_exchange_n(&again_ns[layer], &again, now + AGAIN_NS,
					       false, __ATOMIC_ACQ_REL,
					       __ATOMIC_RELAXED) &&
		   map_again(layer, at)) {
		__atomic_store_n(&again_ns[layer], 0, __ATOMIC_RELEASE);
	}
}

/* Only root can truncate the system's, and does not. */
void tws_layers_look(uint64_t now)
{
	look(TWS_LAYER_RUN, now);
	look(TWS_LAYER_USER, now);
	__atomic_store_n(&tws_layers_checked_ns, now, __ATOMIC_RELAXED);
}

/* ---------------------------------------------------------------------- images */

static struct tws_policy_image *copy_slot(const char *slot)
{
	uint64_t size;
	void *ret;

	if (is_cut(slot, TWS_POLICY_PAGE))
		return NULL;
	size =
	    __atomic_load_n(&((const struct tws_policy_image *)(const void *)slot)->size,
			    __ATOMIC_RELAXED);
	if (size < sizeof(struct tws_policy_image) || size > TWS_POLICY_MAX_SIZE ||
	    is_cut(slot, size))
		return NULL;
	ret = tws_mapping(tws_sys6(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (!ret)
		return NULL;
	memcpy(ret, slot, size);
	if (!tws_policy_validate(ret, size))
		return ret;
	tws_sys2(SYS_munmap, ret, size);
	return NULL;
}

struct tws_policy_image *tws_layers_copy(enum tws_policy_layer layer, uint64_t generation)
{
	const char *file =
	    (const char *)__atomic_load_n(&controls[layer], __ATOMIC_ACQUIRE);
	struct tws_policy_image *ret;

	if (!file)
		return NULL;
	ret = copy_slot(file + tws_policy_slot(generation));
	if (ret && ret->generation != generation) {
		tws_sys2(SYS_munmap, ret, ret->size);
		ret = NULL;
	}
	return ret;
}
