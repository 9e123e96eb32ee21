/* SPDX-License-Identifier: MIT
 *
 * The image in force. Images are kept in a few handles with a count of users, so that a
 * new one never takes the old one from a thread that reads it; a handle is used again
 * when nobody is in it.
 */
#include "shim/shared/hot.h"
#include "shim/policy/policy.h"
#include "shim/policy/handle.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/book/books.h"
#include "shim/book/own_names.h"
#include "shim/book/self.h"
#include "shim/policy/layers.h"
#include "shim/shared/clock.h"
#include "shim/shared/match.h"
#include "shim/shared/sys.h"

#define LOAD_TRIES  8
#define FIRST_WAITS 500
#define HANDLES	    8
#define LOADER	    0x80000000u

static struct tws_policy_handle handles[HANDLES];
static int current = -1;     /* atomic */
static int loading;	     /* atomic; one thread at a time */
static uint64_t refused_key; /* not to be tried again */
static uint64_t draws;	     /* atomic; 0: not begun */
static char exe[TWS_EXE_SIZE];
static struct tws_names names;

/* The kernel adds this to the path of an executable that was replaced since it started.
 */
static void strip_deleted(char *path)
{
	static const char suffix[] = " (deleted)";
	size_t length = strlen(path);

	if (length > sizeof(suffix) - 1 &&
	    !strcmp(path + length - sizeof(suffix) + 1, suffix))
		path[length - sizeof(suffix) + 1] = '\0';
}

static bool asks_names(const struct tws_policy_image *image)
{
	const struct tws_rule *rule = tws_policy_at(image, image->rules.offset);

	for (uint32_t i = 0; i < image->rules.count && i < TWS_RULES; i++)
		if (tws_match_asks_names(&rule[i].match))
			return true;
	return image->experiment.name && tws_match_asks_names(&image->experiment.match);
}

static void match_subject(struct tws_policy_handle *handle)
{
	const struct tws_policy_image *image = handle->image;
	const struct tws_rule *rule = tws_policy_at(image, image->rules.offset);
	struct tws_subject subject = {
	    .exe = exe, .uid = (uint32_t)tws_sys1(SYS_geteuid, 0), .names = &names};
	long length = tws_sys4(SYS_readlinkat, AT_FDCWD, "/proc/thread-self/exe", exe,
			       sizeof(exe) - 1);

	exe[length > 0 ? length : 0] = '\0';
	strip_deleted(exe);
	if (asks_names(image))
		tws_own_names(&names, exe);
	handle->subject_matches = 0;
	for (uint32_t i = 0; i < image->rules.count && i < TWS_RULES; i++)
		if (tws_match_subject(image, &rule[i].match, &subject))
			handle->subject_matches |= 1ULL << i;
	handle->experiment_matches =
	    image->experiment.name &&
	    tws_match_subject(image, &image->experiment.match, &subject);
}

static int claim_handle(void)
{
	int now = __atomic_load_n(&current, __ATOMIC_ACQUIRE);

	for (int i = 0; i < HANDLES; i++) {
		uint32_t nobody = 0;

		if (i != now &&
		    __atomic_compare_exchange_n(&handles[i].users, &nobody, LOADER, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return i;
	}
	return -1;
}

/* Copies the image in force. One that is overwritten while it is copied is not a damaged
 * one: look again. */
static void copy_current(struct tws_policy_handle *handle)
{
	for (int tries = 0; tries < LOAD_TRIES; tries++) {
		uint64_t key = tws_layers_in_force();

		handle->key = key;
		handle->image =
		    key ? tws_layers_copy(key >> 56, tws_policy_key_generation(key))
			: NULL;
		if (handle->image || key == tws_layers_in_force())
			return;
	}
}

static void load(void)
{
	int index = claim_handle();
	struct tws_policy_handle *handle = &handles[index < 0 ? 0 : index];

	if (index < 0)
		return; /* all in use: at the next connection */
	if (handle->image)
		tws_sys2(SYS_munmap, handle->image, handle->image->size);
	memset(handle->arm_entry, 0, sizeof(handle->arm_entry));
	copy_current(handle);
	if (handle->image) {
		match_subject(handle);
		__atomic_store_n(&current, index, __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(&refused_key, handle->key, __ATOMIC_RELAXED);
		tws_count_process(TWS_policy_image_refused);
		__atomic_store_n(&current, -1, __ATOMIC_RELEASE);
	}
	__atomic_fetch_sub(&handle->users, LOADER, __ATOMIC_ACQ_REL);
}

/* Another thread reads the first image: a moment's wait, so that the first connections of
 * a program with threads obey too. Bounded, since it may be this very thread,
 * interrupted. */
static void wait_for_first(void)
{
	for (int i = 0; i < FIRST_WAITS; i++) {
		if (!__atomic_load_n(&loading, __ATOMIC_ACQUIRE) ||
		    __atomic_load_n(&current, __ATOMIC_ACQUIRE) >= 0)
			return;
		tws_sys1(SYS_sched_yield, 0);
	}
}

/* Returns whether a policy is in force. */
static bool follow(void)
{
	uint64_t wanted = tws_layers_in_force();
	int now = __atomic_load_n(&current, __ATOMIC_ACQUIRE);

	if (wanted == 0)
		return false;
	if (wanted == __atomic_load_n(&refused_key, __ATOMIC_RELAXED) ||
	    (now >= 0 && handles[now].key == wanted))
		return true;
	if (__atomic_exchange_n(&loading, 1, __ATOMIC_ACQUIRE)) {
		if (now < 0)
			wait_for_first();
		return true;
	}
	load();
	__atomic_store_n(&loading, 0, __ATOMIC_RELEASE);
	return true;
}

struct tws_policy_handle *tws_policy_acquire(void)
{
	if (!follow())
		return NULL;
	for (int tries = 0; tries < 16; tries++) {
		int now = __atomic_load_n(&current, __ATOMIC_ACQUIRE);

		if (now < 0)
			return NULL;
		__atomic_fetch_add(&handles[now].users, 1, __ATOMIC_ACQ_REL);
		if (__atomic_load_n(&current, __ATOMIC_ACQUIRE) == now)
			return &handles[now];
		__atomic_fetch_sub(&handles[now].users, 1, __ATOMIC_ACQ_REL);
	}
	return NULL;
}

void tws_policy_release(struct tws_policy_handle *handle)
{
	__atomic_fetch_sub(&handle->users, 1, __ATOMIC_ACQ_REL);
}

void tws_policy_forked(void)
{
	/* Threads of the parent that were inside are not here. */
	for (int i = 0; i < HANDLES; i++) {
		handles[i].users = 0;
		memset(handles[i].arm_entry, 0, sizeof(handles[i].arm_entry));
	}
	loading = 0;
	draws = 0;
}

struct tws_settings tws_policy_settings(void)
{
	struct tws_settings ret = {0};
	struct tws_policy_handle *handle = tws_policy_acquire();

	if (!handle)
		return ret;
	ret = handle->image->settings;
	tws_policy_release(handle);
	return ret;
}

/* Each process begins somewhere else, so that many with one connection each draw as one
 * with many does. */
static uint64_t next_draw(void)
{
	uint64_t none = 0;
	uint64_t first = tws_now() * 0x9e3779b97f4a7c15u ^ (uint64_t)tws_self.pid << 32;

	if (!__atomic_load_n(&draws, __ATOMIC_RELAXED))
		__atomic_compare_exchange_n(&draws, &none, first | 1, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return __atomic_fetch_add(&draws, 1, __ATOMIC_RELAXED);
}

uint32_t tws_policy_draw(uint32_t seed)
{
	return tws_draw(seed, next_draw());
}
