/* SPDX-License-Identifier: MIT
 *
 * Images are kept in a few handles with a count of users, so that a swap never takes one
 * from under a thread that reads it; a handle is used again when nobody is in it.
 */
#include "shim/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/match.h"
#include "shim/process.h"
#include "shim/publish.h"
#include "shim/sys.h"
#include "shim/text.h"

#define HANDLES	     8
#define LOADER	     0x80000000u
#define CONTROL_SIZE 4096

struct handle {
	const struct tws_policy_image *image;
	uint64_t generation;
	uint64_t subject_matches; /* bit i: rule i matches this executable and uid */
	bool experiment_matches;
	uint32_t users; /* atomic; LOADER: being filled */
};

static struct tws_policy_control *control;
static struct handle handles[HANDLES];
static int current = -1;	    /* atomic */
static int loading;		    /* atomic; one thread at a time */
static uint64_t refused_generation; /* not to be tried again */
static char exe[TWS_EXE_SIZE];

/* ----------------------------------------------------------------- control */

static int make_control(int directory)
{
	int fd = (int)tws_sys4(SYS_openat, directory, TWS_POLICY_CONTROL,
			       O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0 && tws_sys4(SYS_fallocate, fd, 0, 0, CONTROL_SIZE) != 0) {
		tws_sys1(SYS_close, fd);
		return -ENOSPC;
	}
	return fd;
}

/* Ours, and nobody else may write it. */
static bool is_trusted(int fd, struct stat *ret_stat)
{
	if (tws_sys2(SYS_fstat, fd, ret_stat) != 0 || !S_ISREG(ret_stat->st_mode))
		return false;
	return (ret_stat->st_uid == 0 ||
		ret_stat->st_uid == (uint32_t)tws_sys1(SYS_geteuid, 0)) &&
	       !(ret_stat->st_mode & (S_IWGRP | S_IWOTH));
}

static void map_control(int fd)
{
	struct tws_policy_control *none = NULL;
	struct stat stat = {0};
	long ret;

	if (!is_trusted(fd, &stat) || stat.st_size < CONTROL_SIZE)
		return;
	ret = tws_sys6(SYS_mmap, 0, CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       0);
	if (ret < 0 && ret > -4096)
		return;
	__atomic_compare_exchange_n(&control, &none, (struct tws_policy_control *)ret,
				    false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* At start-up: one system call where no policy was ever loaded. The file itself says
 * whether it is to be trusted. */
static void open_control(void)
{
	char path[sizeof(tws_process.directory) + 32];
	struct tws_text text = tws_text_begin(path, sizeof(path));
	int fd;

	tws_text_add(&text,
		     tws_process.directory[0] ? tws_process.directory : "/run/twshim");
	tws_text_add(&text, "/" TWS_POLICY_CONTROL);
	fd =
	    (int)tws_sys4(SYS_openat, AT_FDCWD, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	map_control(fd);
	tws_sys1(SYS_close, fd);
}

void tws_policy_begin(bool make)
{
	int directory, fd;

	if (__atomic_load_n(&control, __ATOMIC_ACQUIRE))
		return;
	if (!make) {
		open_control();
		return;
	}
	directory = tws_publish_directory(true);
	if (directory < 0)
		return;
	fd = (int)tws_sys4(SYS_openat, directory, TWS_POLICY_CONTROL,
			   O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd == -ENOENT)
		fd = make_control(directory);
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
	int directory = tws_publish_directory(false);
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

static void match_subject(struct handle *handle)
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

static void load(uint64_t generation)
{
	int index = claim_handle();
	struct handle *handle = &handles[index < 0 ? 0 : index];

	if (index < 0)
		return; /* all in use: at the next connection */
	if (handle->image)
		tws_sys2(SYS_munmap, handle->image, handle->image->size);
	handle->image = open_image(generation);
	handle->generation = generation;
	if (handle->image) {
		match_subject(handle);
		__atomic_store_n(&current, index, __ATOMIC_RELEASE);
	} else {
		refused_generation = generation;
		tws_count_process(TWS_policy_image_refused);
		__atomic_store_n(&current, -1, __ATOMIC_RELEASE);
	}
	__atomic_fetch_sub(&handle->users, LOADER, __ATOMIC_ACQ_REL);
}

static void follow(void)
{
	struct tws_policy_control *at = __atomic_load_n(&control, __ATOMIC_ACQUIRE);
	uint64_t wanted = at ? __atomic_load_n(&at->generation, __ATOMIC_ACQUIRE) : 0;
	int now = __atomic_load_n(&current, __ATOMIC_ACQUIRE);

	if (wanted == 0 || wanted == refused_generation ||
	    (now >= 0 && handles[now].generation == wanted))
		return;
	if (__atomic_exchange_n(&loading, 1, __ATOMIC_ACQUIRE))
		return;
	load(wanted);
	__atomic_store_n(&loading, 0, __ATOMIC_RELEASE);
}

bool tws_policy_active(void)
{
	struct tws_policy_control *at = __atomic_load_n(&control, __ATOMIC_ACQUIRE);

	return at && __atomic_load_n(&at->generation, __ATOMIC_RELAXED) != 0;
}

static struct handle *acquire(void)
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

static void release(struct handle *handle)
{
	__atomic_fetch_sub(&handle->users, 1, __ATOMIC_ACQ_REL);
}

void tws_policy_forked(void)
{
	/* Threads of the parent that were inside are not here. */
	for (int i = 0; i < HANDLES; i++)
		handles[i].users = 0;
	loading = 0;
}

struct tws_settings tws_policy_settings(void)
{
	struct tws_settings ret = {0};
	struct handle *handle = acquire();

	if (!handle)
		return ret;
	ret = handle->image->settings;
	release(handle);
	return ret;
}

/* ----------------------------------------------------------------- deciding */

static void copy_name(char *to, const char *from)
{
	struct tws_text text = tws_text_begin(to, TWS_NAME_SIZE);

	tws_text_add(&text, from);
}

/* The status of a rule begins anew with each image. */
static struct tws_rule_status *status_of(struct tws_book *book, struct handle *handle,
					 uint32_t index, const struct tws_rule *rule)
{
	struct tws_rule_status *status = &book->rules[index];

	if (!tws_book_reach(book, TWS_SECTION_RULES, index))
		return NULL;
	if (status->policy_generation == handle->generation)
		return status;
	memset(&status->matched, 0,
	       offsetof(struct tws_rule_status, stopped) -
		   offsetof(struct tws_rule_status, matched));
	status->stopped = TWS_STOP_NONE;
	tws_rule_limits(index, &rule->action);
	copy_name(status->name, tws_policy_at(handle->image, rule->name));
	__atomic_store_n(&status->policy_generation, handle->generation,
			 __ATOMIC_RELEASE);
	return status;
}

static uint32_t draw(uint32_t seed)
{
	return tws_draw(seed, __atomic_fetch_add(&control->draws, 1, __ATOMIC_RELAXED));
}

static bool in_sample(const struct tws_action *action, uint32_t seed)
{
	return action->sample_percent >= 100 ||
	       (uint64_t)draw(seed) * 100 >> 32 < action->sample_percent;
}

static void decide_rule(struct tws_book *book, struct handle *handle,
			const struct tws_address *remote, struct tws_decision *ret)
{
	const struct tws_policy_image *image = handle->image;
	const struct tws_rule *rule = tws_policy_at(image, image->rules.offset);

	for (uint32_t i = 0; i < image->rules.count && i < TWS_RULES; i++) {
		if (!(handle->subject_matches >> i & 1))
			continue;
		if (remote ? !tws_match_address(image, &rule[i].match, remote)
			   : !tws_action_acts_at_bind(&rule[i].action))
			continue;
		ret->rule = (uint16_t)(i + 1);
		ret->short_lived_only = rule[i].match.short_lived_only;
		ret->action = rule[i].action;
		ret->matched = !remote || in_sample(&rule[i].action, i);
		ret->status = book ? status_of(book, handle, i, &rule[i]) : NULL;
		return;
	}
}

static void fill_arm(struct tws_arm *entry, struct handle *handle,
		     const struct tws_policy_arm *arm)
{
	const struct tws_policy_image *image = handle->image;

	copy_name(entry->experiment, tws_policy_at(image, image->experiment.name));
	copy_name(entry->name, tws_policy_at(image, arm->name));
	entry->weight = arm->weight;
	entry->policy_generation = handle->generation;
	__atomic_store_n(&entry->state, TWS_DESTINATION_READY, __ATOMIC_RELEASE);
}

static bool decide_arm(struct tws_book *book, struct handle *handle,
		       const struct tws_address *remote, struct tws_decision *ret)
{
	const struct tws_policy_image *image = handle->image;
	const struct tws_policy_arm *arms =
	    tws_policy_at(image, image->experiment.arms.offset);
	unsigned pick;

	if (!handle->experiment_matches || !remote ||
	    !tws_match_address(image, &image->experiment.match, remote))
		return false;
	pick = tws_pick_arm(arms, image->experiment.arms.count,
			    draw(image->experiment.seed));
	if (!tws_book_reach(book, TWS_SECTION_ARMS, pick))
		return true;
	if (book->arms[pick].state != TWS_DESTINATION_READY)
		fill_arm(&book->arms[pick], handle, &arms[pick]);
	ret->arm = (uint8_t)(pick + 1);
	ret->action = arms[pick].action;
	ret->short_lived_only = image->experiment.match.short_lived_only;
	ret->matched = true;
	return true;
}

/* What holds from a new image on, beside its rules. */
static void note_image(struct tws_header *header, const struct handle *handle)
{
	const struct tws_settings *settings = &handle->image->settings;

	__atomic_store_n(&header->short_lived_ms,
			 settings->short_lived_ms ? settings->short_lived_ms : 1000,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&header->detail, settings->detail != 2, __ATOMIC_RELAXED);
	__atomic_store_n(&header->policy_generation, handle->generation,
			 __ATOMIC_RELEASE);
}

struct tws_decision tws_policy_decide(struct tws_book *book,
				      const struct tws_address *remote)
{
	struct tws_decision ret = {.matched = false};
	struct handle *handle = acquire();

	if (!handle)
		return ret;
	if (!book || !decide_arm(book, handle, remote, &ret))
		decide_rule(book, handle, remote, &ret);
	if (book && __atomic_load_n(&book->header->policy_generation, __ATOMIC_RELAXED) !=
			handle->generation)
		note_image(book->header, handle);
	release(handle);
	return ret;
}
