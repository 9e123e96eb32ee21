/* SPDX-License-Identifier: MIT
 *
 * Images are kept in a few handles with a count of users, so that a swap never takes one
 * from under a thread that reads it; a handle is used again when nobody is in it.
 */
#include "shim/shared/hot.h"
#include "shim/policy/policy.h"
#include "shim/policy/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/shared/clock.h"
#include "shim/shared/match.h"
#include "shim/book/identity.h"
#include "shim/book/self.h"
#include "shim/book/publish.h"
#include "shim/shared/sys.h"
#include "shim/shared/text.h"

#define LOAD_TRIES   8
#define FIRST_WAITS  500
#define HANDLES	     8
#define LOADER	     0x80000000u
#define CONTROL_SIZE 4096
#define AGAIN_NS     1000000000u /* looks for a control file that was cut */

TWS_HOT_DATA struct tws_policy_control *tws_policy_control;
TWS_HOT_DATA uint64_t tws_policy_checked_ns;

static struct tws_policy_handle handles[HANDLES];
static int current = -1;	    /* atomic */
static int loading;		    /* atomic; one thread at a time */
static uint64_t refused_generation; /* not to be tried again */
static bool refused_control;	    /* atomic; counted already */
static char exe[TWS_EXE_SIZE];

/* ----------------------------------------------------------------- control */

static bool obeys(uint32_t owner)
{
	return tws_identity_obeys(owner ? tws_identity_user() : 0, owner);
}

/* The run-time directory, if only somebody whom we obey can put a policy into it. */
static int open_directory(bool make)
{
	int fd = tws_publish_directory(make);
	struct stat stat = {0};

	if (fd < 0)
		return fd;
	if (tws_sys2(SYS_fstat, fd, &stat) == 0 && obeys(stat.st_uid))
		return fd;
	tws_sys1(SYS_close, fd);
	return -EPERM;
}

static int make_control(int directory)
{
	int fd = !tws_may_write(CONTROL_SIZE)
		     ? -EFBIG
		     : (int)tws_sys4(SYS_openat, directory, TWS_POLICY_CONTROL,
				     O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0 && tws_sys4(SYS_fallocate, fd, 0, 0, CONTROL_SIZE) != 0) {
		tws_sys1(SYS_close, fd);
		return -ENOSPC;
	}
	return fd;
}

/* Only somebody whom we obey can write it. */
static bool is_trusted(int fd, struct stat *ret_stat)
{
	return tws_sys2(SYS_fstat, fd, ret_stat) == 0 && S_ISREG(ret_stat->st_mode) &&
	       !(ret_stat->st_mode & (S_IWGRP | S_IWOTH)) && obeys(ret_stat->st_uid);
}

static void note_refused_control(void)
{
	if (!__atomic_exchange_n(&refused_control, true, __ATOMIC_RELAXED))
		tws_count_process(TWS_policy_image_refused);
}

/* `at`: in the place of that page; NULL: a new one. NULL: it cannot be had. */
static struct tws_policy_control *map_file(int fd, struct tws_policy_control *at)
{
	struct stat stat = {0};

	if (!is_trusted(fd, &stat)) {
		note_refused_control();
		return NULL;
	}
	if (stat.st_size < CONTROL_SIZE)
		return NULL;
	return tws_mapping(tws_sys6(SYS_mmap, (long)(uintptr_t)at, CONTROL_SIZE,
				    PROT_READ | PROT_WRITE,
				    MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0));
}

static void map_control(int fd)
{
	struct tws_policy_control *none = NULL;
	struct tws_policy_control *made = map_file(fd, NULL);

	if (made)
		__atomic_compare_exchange_n(&tws_policy_control, &none, made, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* At start-up: one system call where no policy was ever loaded. The file itself says
 * whether it is to be trusted. */
static void open_control(void)
{
	char path[sizeof(tws_self.directory) + 32];
	struct tws_text text = tws_text_begin(path, sizeof(path));
	int fd;

	tws_text_add(&text, tws_self.directory[0] ? tws_self.directory : "/run/twshim/0");
	tws_text_add(&text, "/" TWS_POLICY_CONTROL);
	fd =
	    (int)tws_sys4(SYS_openat, AT_FDCWD, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	map_control(fd);
	tws_sys1(SYS_close, fd);
}

static void follow(void);

void tws_policy_begin(bool make)
{
	int directory, fd;

	if (__atomic_load_n(&tws_policy_control, __ATOMIC_ACQUIRE))
		return;
	if (!make) {
		open_control();
		/* Root may give up being root before its first connection, and could not
		 * read the image then. */
		if (tws_policy_active(tws_now()) && tws_sys1(SYS_geteuid, 0) == 0)
			follow();
		return;
	}
	directory = open_directory(true);
	if (directory < 0)
		return;
	fd = (int)tws_sys4(SYS_openat, directory, TWS_POLICY_CONTROL,
			   O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd == -ENOENT)
		fd = make_control(directory);
	else if (fd == -EACCES || fd == -ELOOP)
		note_refused_control(); /* another user's, or a link */
	if (fd >= 0) {
		map_control(fd);
		tws_sys1(SYS_close, fd);
	}
	tws_sys1(SYS_close, directory);
}

/* ------------------------------------------------------------------- images */

static void *read_image(int fd, size_t size)
{
	long ret = tws_sys6(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t done = 0;
	long length;

	if (ret < 0 && ret > -4096)
		return NULL;
	while (done < size) {
		length = tws_sys3(SYS_read, fd, ret + (long)done, size - done);
		if (length <= 0)
			break;
		done += (size_t)length;
	}
	if (done == size && !tws_policy_validate((void *)ret, size))
		return (void *)ret;
	tws_sys2(SYS_munmap, ret, size);
	return NULL;
}

static const struct tws_policy_image *open_image(uint64_t generation)
{
	const struct tws_policy_image *ret = NULL;
	char name[48];
	struct tws_text text = tws_text_begin(name, sizeof(name));
	struct stat stat = {0};
	int directory = open_directory(false);
	int fd;

	if (directory < 0)
		return NULL;
	tws_text_add(&text, "policy-");
	tws_text_number(&text, generation);
	tws_text_add(&text, ".img");
	fd = (int)tws_sys4(SYS_openat, directory, name,
			   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
	tws_sys1(SYS_close, directory);
	if (fd < 0)
		return NULL;
	if (is_trusted(fd, &stat) && stat.st_size > 0 &&
	    stat.st_size <= TWS_POLICY_MAX_SIZE)
		ret = read_image(fd, (size_t)stat.st_size);
	tws_sys1(SYS_close, fd);
	return ret;
}

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

static void match_subject(struct tws_policy_handle *handle)
{
	const struct tws_policy_image *image = handle->image;
	const struct tws_rule *rule = tws_policy_at(image, image->rules.offset);
	struct tws_subject subject = {.exe = exe,
				      .uid = (uint32_t)tws_sys1(SYS_geteuid, 0)};
	long length =
	    tws_sys4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", exe, sizeof(exe) - 1);

	exe[length > 0 ? length : 0] = '\0';
	strip_deleted(exe);
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

/* An empty page (no policy) in the place of a control file that was cut. */
static void map_nothing(struct tws_policy_control *at)
{
	tws_sys6(SYS_mmap, (long)(uintptr_t)at, CONTROL_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static bool is_cut(const struct tws_policy_control *at)
{
	return tws_sys3(SYS_madvise, at, CONTROL_SIZE, MADV_POPULATE_READ) == -EFAULT;
}

/* Whether the control file is there again, and whole. */
static bool map_again(struct tws_policy_control *at)
{
	int directory = open_directory(false);
	bool ret;
	int fd;

	if (directory < 0)
		return false;
	fd = (int)tws_sys4(SYS_openat, directory, TWS_POLICY_CONTROL,
			   O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
	tws_sys1(SYS_close, directory);
	if (fd < 0)
		return false;
	ret = map_file(fd, at) && !is_cut(at);
	if (!ret)
		map_nothing(at); /* also where MAP_FIXED took the page and gave none */
	tws_sys1(SYS_close, fd);
	return ret;
}

/* If the control file was cut, there is no policy until a look, once a second, finds it
 * whole again. */
void tws_policy_look(struct tws_policy_control *at, uint64_t now)
{
	static uint64_t again_ns; /* atomic; 0: it is whole */
	uint64_t again = __atomic_load_n(&again_ns, __ATOMIC_ACQUIRE);

	if (!again && is_cut(at)) {
		map_nothing(at);
		__atomic_store_n(&again_ns, now + AGAIN_NS, __ATOMIC_RELEASE);
	} else if (again && now >= again &&
		   __atomic_compare_exchange_n(&again_ns, &again, now + AGAIN_NS, false,
					       __ATOMIC_ACQ_REL, __ATOMIC_RELAXED) &&
		   map_again(at)) {
		__atomic_store_n(&again_ns, 0, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&tws_policy_checked_ns, now, __ATOMIC_RELAXED);
}

static uint64_t wanted_generation(void)
{
	struct tws_policy_control *at = tws_policy_page(tws_now());

	return at ? __atomic_load_n(&at->generation, __ATOMIC_ACQUIRE) : 0;
}

/* The image of the generation in force. One that was replaced and cleared away between
 * the look at its number and the look for its file is not a damaged one: look again. */
static void open_current(struct tws_policy_handle *handle)
{
	for (int tries = 0; tries < LOAD_TRIES; tries++) {
		handle->generation = wanted_generation();
		handle->image = open_image(handle->generation);
		if (handle->image || handle->generation == wanted_generation())
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
	open_current(handle);
	if (handle->image) {
		match_subject(handle);
		__atomic_store_n(&current, index, __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(&refused_generation, handle->generation,
				 __ATOMIC_RELAXED);
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

static void follow(void)
{
	uint64_t wanted = wanted_generation();
	int now = __atomic_load_n(&current, __ATOMIC_ACQUIRE);

	if (wanted == 0 ||
	    wanted == __atomic_load_n(&refused_generation, __ATOMIC_RELAXED) ||
	    (now >= 0 && handles[now].generation == wanted))
		return;
	if (__atomic_exchange_n(&loading, 1, __ATOMIC_ACQUIRE)) {
		if (now < 0)
			wait_for_first();
		return;
	}
	load();
	__atomic_store_n(&loading, 0, __ATOMIC_RELEASE);
}

struct tws_policy_handle *tws_policy_acquire(void)
{
	follow();
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

uint32_t tws_policy_draw(uint32_t seed)
{
	return tws_draw(seed, __atomic_fetch_add(&tws_policy_page(tws_now())->draws, 1,
						 __ATOMIC_RELAXED));
}
