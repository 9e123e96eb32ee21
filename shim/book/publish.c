/* SPDX-License-Identifier: MIT
 *
 * A segment comes whole or not at all: made under a temporary name, sized, backed where
 * it will be touched first, filled, renamed. Every descriptor opened here is closed here.
 */
#include "shim/book/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/shared/clock.h"
#include "shim/shared/fold.h"
#include "shim/book/identity.h"
#include "shim/book/memory.h"
#include "shim/book/own_names.h"
#include "shim/book/self.h"
#include "shim/shared/newer.h"
#include "shim/shared/sys.h"
#include "shim/shared/temporary.h"
#include "shim/shared/text.h"
#include "shim/shared/layout.h"

#define IMAGES_MAX 256
#define FOLD_EVERY 64  /* segments made */
#define FOLD_MOST  128 /* segments folded at once */

int tws_publish_directory_from(enum tws_place *place, bool make)
{
	uint32_t user = tws_identity_user();

	return user == TWS_NO_USER
		   ? -EPERM
		   : tws_place_find(tws_self.directory, user, make, place);
}

int tws_publish_directory(bool make)
{
	enum tws_place place = TWS_PLACE_GIVEN;

	return tws_publish_directory_from(&place, make);
}

void tws_publish_name(const struct tws_header *header, char *ret_name)
{
	struct tws_text text = tws_text_begin(ret_name, 96);

	tws_text_number(&text, header->pid_namespace);
	tws_text_add(&text, "-");
	tws_text_number(&text, header->pid);
	tws_text_add(&text, "-");
	tws_text_number(&text, header->start_time);
	tws_text_add(&text, "-");
	tws_text_number(&text, header->image);
	tws_text_add(&text, TWS_SEGMENT_SUFFIX);
}

/* ------------------------------------------------------------- who we are */

/* A child that shares our memory and descriptors counts as a thread of ours, but
 * /proc/self is its own. In a /proc of another pid namespace the numbers differ. */
static long read_stat(char *ret_buffer, size_t size)
{
	char path[32];
	struct tws_text text = tws_text_begin(path, sizeof(path));
	long length = tws_read_file("/proc/self/stat", ret_buffer, size);

	if (length <= 0 || tws_text_parse(ret_buffer) == (uint64_t)tws_self.pid ||
	    tws_sys1(SYS_getpid, 0) == tws_self.pid)
		return length;
	tws_text_add(&text, "/proc/");
	tws_text_number(&text, (uint64_t)tws_self.pid);
	tws_text_add(&text, "/stat");
	return tws_read_file(path, ret_buffer, size);
}

/* Fields 4 and 22 of proc_pid_stat(5); the name in field 2 may hold spaces and
 * parentheses. */
static void fill_stat(struct tws_header *header)
{
	char buffer[1024];
	const char *at;

	if (read_stat(buffer, sizeof(buffer)) <= 0)
		return;
	at = strrchr(buffer, ')');
	for (int field = 2; at && field < 22; field++) {
		at = strchr(at + 1, ' ');
		if (at && field == 3)
			header->names.parent = (uint32_t)tws_text_parse(at + 1);
	}
	if (at)
		header->start_time = tws_text_parse(at + 1);
}

static void boot_id(uint8_t ret_id[16])
{
	char buffer[64] = "";

	tws_read_file("/proc/sys/kernel/random/boot_id", buffer, sizeof(buffer));
	tws_text_to_id(buffer, ret_id);
}

static uint64_t inode_of(const char *path)
{
	struct stat stat = {0};

	return tws_sys4(SYS_newfstatat, AT_FDCWD, path, &stat, 0) == 0 ? stat.st_ino : 0;
}

static void fill_identity(struct tws_header *header, uint32_t user)
{
	struct timespec now;
	long length;

	boot_id(header->boot_id);
	header->pid_namespace = inode_of("/proc/self/ns/pid");
	header->net_namespace = inode_of("/proc/thread-self/ns/net");
	fill_stat(header);
	header->pid = (uint32_t)tws_self.pid;
	header->uid = user;
	memcpy(header->run, tws_self.run, sizeof(header->run));
	tws_clock(CLOCK_REALTIME, &now);
	header->created_realtime_ns =
	    (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	header->created_monotonic_ns = tws_now();
	/* Not /proc/self: the first thread may have ended before the others. */
	length = tws_sys4(SYS_readlinkat, AT_FDCWD, "/proc/thread-self/exe", header->exe,
			  sizeof(header->exe) - 1);
	header->exe[length > 0 ? length : 0] = '\0';
	tws_own_names(&header->names, header->exe);
}

/* ------------------------------------------------------------- the layout */

static void lay_out_segment(struct tws_header *header,
			    const struct tws_settings *settings)
{
	const struct tws_segment_sizes sizes = {.connections = settings->connections,
						.destinations = settings->destinations,
						.ended = settings->ended,
						.time_wait = settings->time_wait};

	tws_segment_lay_out(header, &sizes);
	header->short_lived_ms =
	    settings->short_lived_ms ? settings->short_lived_ms : TWS_SHORT_LIVED_MS;
	header->detail = settings->detail == 1;
}

/* ------------------------------------------------------------ making one */

/* The header, the process counters and the last page; the rest is backed as it is
 * reached. */
static bool back_segment(struct tws_header *header, uint64_t size)
{
	return tws_memory_back(header, TWS_PAGE + sizeof(struct tws_counters)) &&
	       tws_memory_back((char *)header + size - TWS_PAGE, TWS_PAGE);
}

static struct tws_header *map_file(int fd, uint64_t size)
{
	long ret =
	    tws_sys6(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return ret < 0 && ret > -4096 ? NULL : (struct tws_header *)ret;
}

static bool publish_name(int directory, const char *temporary, struct tws_header *header,
			 struct tws_header *layout)
{
	char name[96];

	for (layout->image = 0; layout->image < IMAGES_MAX; layout->image++) {
		long ret;

		header->image = layout->image;
		tws_publish_name(layout, name);
		ret = tws_sys5(SYS_renameat2, directory, temporary, directory, name,
			       RENAME_NOREPLACE);
		if (ret != -EEXIST)
			return ret == 0;
	}
	return false;
}

static void set_readers(int directory, int fd, uint32_t group)
{
	if (group && tws_sys3(TWS_RARELY(SYS_fchown), fd, -1, group) == 0)
		tws_sys2(SYS_fchmod, fd, 0640);
	else
		tws_share_as_directory(directory, fd);
}

/* The owner of a directory, or of a file in it; TWS_NO_USER: it can't be told. */
static uint32_t owner_of(int fd)
{
	struct stat stat = {0};

	return tws_sys2(SYS_fstat, fd, &stat) == 0 ? stat.st_uid : TWS_NO_USER;
}

static struct tws_header *make_in(int directory, int fd, const char *temporary,
				  const struct tws_settings *settings,
				  struct tws_header *ret_layout)
{
	struct tws_header *layout = ret_layout;
	struct tws_header *header;
	uint32_t user = owner_of(directory);

	/* A new file belongs to the file-system user ID, which may be another one. */
	if (user == TWS_NO_USER || owner_of(fd) != user)
		return NULL;
	fill_identity(layout, user);
	lay_out_segment(layout, settings);
	if (!tws_may_write(layout->size) ||
	    tws_sys2(SYS_ftruncate, fd, layout->size) != 0)
		return NULL;
	header = map_file(fd, layout->size);
	if (!header)
		return NULL;
	set_readers(directory, fd, settings->group);
	if (back_segment(header, layout->size)) {
		tws_segment_begin(header, layout);
		if (publish_name(directory, temporary, header, layout))
			return header;
	}
	tws_sys2(SYS_munmap, header, layout->size);
	return NULL;
}

/* Now and then a process that makes a segment clears away those of dead ones, a bounded
 * number; so the directory stays bounded though nobody reads it. Not in a signal handler
 * with a stack of its own, which may be small: folding takes 8 KiB. */
static void fold_sometimes(int directory, const struct tws_settings *settings)
{
	struct tws_fold_limits limits = {.retention_s = settings->retention_s,
					 .max_segments = settings->max_segments,
					 .most = FOLD_MOST};
	uint32_t chance = (uint32_t)tws_self.pid * 2654435761u;
	stack_t stack = {0};

	if ((chance >> 16) % FOLD_EVERY == 0 &&
	    tws_sys2(SYS_sigaltstack, 0, &stack) == 0 && !(stack.ss_flags & SS_ONSTACK))
		tws_fold(directory, &limits);
}

static struct tws_header *publish_in(int directory, const struct tws_settings *settings,
				     struct tws_header *ret_layout)
{
	char temporary[TWS_TEMPORARY_SIZE];
	int fd = tws_temporary_make(directory, temporary);
	struct tws_header *ret;

	if (fd < 0)
		return NULL;
	memset(ret_layout, 0, sizeof(*ret_layout));
	ret = make_in(directory, fd, temporary, settings, ret_layout);
	if (!ret)
		tws_sys3(SYS_unlinkat, directory, temporary, 0);
	tws_sys1(SYS_close, fd);
	fold_sometimes(directory, settings);
	return ret;
}

/* Where one place is full, the next one is tried. */
struct tws_header *tws_publish(const struct tws_settings *settings,
			       struct tws_header *ret_layout)
{
	enum tws_place place = TWS_PLACE_GIVEN;
	struct tws_header *ret = NULL;
	int directory;

	while (!ret && (directory = tws_publish_directory_from(&place, true)) >= 0) {
		ret = publish_in(directory, settings, ret_layout);
		tws_sys1(SYS_close, directory);
		place++;
	}
	return ret;
}

void tws_publish_withdraw(const struct tws_header *layout)
{
	enum tws_place place = TWS_PLACE_GIVEN;
	char name[96];
	int directory;

	tws_publish_name(layout, name);
	while ((directory = tws_publish_directory_from(&place, false)) >= 0) {
		tws_sys3(SYS_unlinkat, directory, name, 0);
		tws_sys1(SYS_close, directory);
		place++;
	}
}

/* -------------------------------------------------------- opening another */

static struct tws_header *map_valid(int fd, uint32_t user, struct tws_header *ret_layout)
{
	struct stat stat = {0};
	long length = tws_sys4(SYS_pread64, fd, ret_layout, sizeof(*ret_layout), 0);

	if (length < 0 || tws_sys2(SYS_fstat, fd, &stat) != 0 || !S_ISREG(stat.st_mode) ||
	    stat.st_uid != user)
		return NULL;
	if (tws_segment_validate(ret_layout, (uint64_t)length, (uint64_t)stat.st_size))
		return NULL;
	return map_file(fd, ret_layout->size);
}

static struct tws_header *open_in(int directory, const char *name,
				  struct tws_header *ret_layout)
{
	int fd = (int)tws_sys4(SYS_openat, directory, name,
			       O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
	struct tws_header *ret;

	if (fd < 0)
		return NULL;
	ret = map_valid(fd, owner_of(directory), ret_layout);
	tws_sys1(SYS_close, fd);
	return ret;
}

struct tws_header *tws_publish_open(const char *name, struct tws_header *ret_layout)
{
	enum tws_place place = TWS_PLACE_GIVEN;
	struct tws_header *ret = NULL;
	int directory;

	while (!ret && (directory = tws_publish_directory_from(&place, false)) >= 0) {
		ret = open_in(directory, name, ret_layout);
		tws_sys1(SYS_close, directory);
		place++;
	}
	return ret;
}
