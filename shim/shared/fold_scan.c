/* SPDX-License-Identifier: MIT
 *
 * Finds the segments that are due for folding: those of dead processes that are past
 * their retention, or exceed the number to keep.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/shared/clock.h"
#include "shim/shared/fold_parts.h"
#include "shim/shared/names.h"
#include "shim/shared/newer.h"
#include "shim/shared/rundir.h"
#include "shim/shared/sys.h"
#include "shim/shared/text.h"

#define SECOND_NS	1000000000u
#define HELD_AT_MOST_S	86400ull
#define TEMPORARY_AGE_S 60

bool tws_fold_ends_with(const char *name, const char *suffix)
{
	size_t length = strlen(name), tail = strlen(suffix);

	return length > tail && !strcmp(name + length - tail, suffix);
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	while (size--)
		hash = (hash ^ *at++) * 1099511628211u;
	return hash;
}

static bool has_totals(const struct tws_scan *scan, uint64_t hash)
{
	char name[64];
	struct tws_text text = tws_text_begin(name, sizeof(name));

	tws_text_number(&text, hash);
	tws_text_add(&text, TWS_TOTALS_SUFFIX);
	return tws_sys4(SYS_faccessat, scan->directory, name, 0, 0) == 0;
}

/* An application is told apart by its executable, and by its name if that is another.
 * Where there are many names, further ones share the totals of their executable. */
static uint64_t hash_application(const struct tws_scan *scan,
				 const struct tws_header *header,
				 struct tws_candidate *candidate)
{
	uint64_t exe =
	    hash_bytes(14695981039346656037u, header->exe, strlen(header->exe));
	const char *slash = strrchr(header->exe, '/');
	const char *app = tws_names_app(&header->names, header->exe);
	uint64_t hash = hash_bytes(exe, app, strlen(app) + 1);

	candidate->nameless = false;
	if (strcmp(app, slash ? slash + 1 : header->exe) == 0)
		return exe;
	if (scan->totals < TWS_FOLD_TOTALS || has_totals(scan, hash))
		return hash;
	candidate->nameless = true;
	return exe;
}

/* Which totals a segment goes into. */
static void choose_totals(const struct tws_scan *scan, const struct tws_header *header,
			  struct tws_candidate *candidate)
{
	uint64_t hash = hash_application(scan, header, candidate);

	memset(candidate->run, 0, sizeof(candidate->run));
	if (tws_run_goes_on(scan->directory, header->run)) {
		memcpy(candidate->run, header->run, sizeof(candidate->run));
		hash = hash_bytes(hash, header->run, sizeof(header->run));
	}
	candidate->exe_hash = hash;
}

/* Only a process of our own pid namespace and boot can be known to be dead. If its pid
 * was given to a new process, the segment stays a little longer. */
static bool died_here(const struct tws_scan *scan, uint64_t pid_namespace, uint32_t pid)
{
	return pid_namespace == scan->pid_namespace &&
	       tws_sys2(SYS_kill, pid, 0) == -ESRCH;
}

static bool is_slot_unsettled(const struct tws_connection *slot)
{
	return slot->state >= TWS_CONN_CONNECTING && slot->state <= TWS_CONN_ENDING &&
	       !(slot->via && slot->ending);
}

/* A connection that another process may still hold, or whose end an observer has not
 * seen, keeps the segment unfolded, for a day at most. */
static bool is_held(int fd, const struct tws_header *header, bool *ret_unsettled)
{
	bool observed = header->observer != TWS_OBSERVER_SHIM;
	const struct tws_section *at = &header->section[TWS_SECTION_CONNECTIONS];
	uint64_t size =
	    (uint64_t)tws_fold_used(header, TWS_SECTION_CONNECTIONS) * at->element_size;
	struct tws_connection *slot = size ? tws_fold_allocate(size) : NULL;
	bool ret = false;

	*ret_unsettled = false;
	if (slot && tws_fold_read(fd, slot, size, at->offset))
		for (uint32_t i = 0; i < tws_fold_used(header, TWS_SECTION_CONNECTIONS);
		     i++) {
			ret |= observed ? slot[i].state != TWS_CONN_FREE
					: slot[i].state == TWS_CONN_OPEN &&
					      slot[i].flags & TWS_CONN_SHARED;
			*ret_unsettled |= is_slot_unsettled(&slot[i]);
		}
	tws_fold_release(slot, size);
	return ret;
}

/* An observer wrote it, and nothing is to come: while the observer lives it hears how
 * what is open ends, also when the process is dead; afterwards nobody does. */
static bool is_left(const struct tws_scan *scan, int fd, const struct tws_header *header)
{
	bool dead = died_here(scan, header->pid_namespace, header->pid), unsettled;
	bool observed =
	    !died_here(scan, header->observer_pid_namespace, header->observer_pid);

	return observed ? dead && !is_held(fd, header, &unsettled)
			: dead || !is_held(fd, header, &unsettled);
}

static bool is_candidate(const struct tws_scan *scan, int fd,
			 const struct tws_header *header, bool *ret_unsettled)
{
	*ret_unsettled = false;
	if (header->state == TWS_SEGMENT_TOTALS)
		return true; /* the totals of a run that has ended */
	if (header->observer != TWS_OBSERVER_SHIM)
		return is_left(scan, fd, header);
	if (!died_here(scan, header->pid_namespace, header->pid))
		return false;
	return !is_held(fd, header, ret_unsettled) ||
	       scan->now_ns - header->heartbeat_ns > HELD_AT_MOST_S * SECOND_NS;
}

/* Whether the file is ours and has not been written for this long. */
static bool is_old(int directory, const char *name, uint64_t seconds)
{
	struct stat stat = {0};
	struct timespec now;

	tws_clock(CLOCK_REALTIME, &now);
	return tws_sys4(SYS_newfstatat, directory, name, &stat, AT_SYMLINK_NOFOLLOW) ==
		   0 &&
	       stat.st_uid == (uint32_t)tws_sys1(SYS_geteuid, 0) &&
	       stat.st_mtim.tv_sec + (int64_t)seconds < now.tv_sec;
}

/* Removes what a process left that was killed while making a segment. */
static void remove_if_old(int directory, const char *name, uint64_t seconds)
{
	if (is_old(directory, name, seconds))
		tws_sys3(SYS_unlinkat, directory, name, 0);
}

enum life { DEAD, ALIVE, UNKNOWN };

/* Judges by the file's name, PIDNS-PID-..., because its contents cannot be read. */
static enum life life_by_name(const struct tws_scan *scan, const char *name)
{
	const char *at = strchr(name, '-');
	uint64_t pid = at ? tws_text_parse(at + 1) : 0;

	if (!pid || pid > INT32_MAX || tws_text_parse(name) != scan->pid_namespace)
		return UNKNOWN;
	return died_here(scan, scan->pid_namespace, (uint32_t)pid) ? DEAD : ALIVE;
}

/* A damaged segment is removed when a valid one would be folded, and one that another
 * version could read after a day, if the process is dead. If nobody can tell whether it
 * is, only a damaged one is removed, after a day. */
static void remove_unreadable(const struct tws_scan *scan, const char *name,
			      enum tws_fold_condition condition)
{
	enum life life = life_by_name(scan, name);
	bool damaged = condition == TWS_FOLD_DAMAGED;

	if (life == DEAD)
		remove_if_old(scan->directory, name,
			      damaged ? scan->retention_s : HELD_AT_MOST_S);
	else if (life == UNKNOWN && damaged)
		remove_if_old(scan->directory, name, HELD_AT_MOST_S);
}

static void consider(struct tws_scan *scan, const char *name)
{
	struct tws_candidate *candidate = &scan->candidates[scan->count];
	struct tws_header header = {0};
	struct tws_fold_file file;
	int fd;

	if (scan->count == TWS_FOLD_CANDIDATES || strlen(name) >= sizeof(candidate->name))
		return;
	fd = tws_fold_open(scan->directory, name, &header, &file);
	if (file.condition == TWS_FOLD_DAMAGED || file.condition == TWS_FOLD_FOREIGN)
		remove_unreadable(scan, name, file.condition);
	if (fd < 0)
		return;
	if (is_candidate(scan, fd, &header, &candidate->unsettled)) {
		strcpy(candidate->name, name);
		candidate->heartbeat_ns = header.heartbeat_ns;
		choose_totals(scan, &header, candidate);
		scan->count++;
	}
	tws_sys1(SYS_close, fd);
}

struct kernel_dirent {
	uint64_t inode;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* Calls `act` for each name of the directory. Opens its own descriptor, so that the
 * caller's keeps its position. */
void tws_fold_each_name(struct tws_scan *scan,
			void (*act)(struct tws_scan *scan, const char *name))
{
	char buffer[2048] __attribute__((aligned(8))) = {0};
	long length;
	int fd = (int)tws_sys4(SYS_openat, scan->directory, ".",
			       O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	while (fd >= 0 &&
	       (length = tws_sys3(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0)
		for (long at = 0; at < length;) {
			struct kernel_dirent *entry = (void *)(buffer + at);

			act(scan, entry->name);
			at += entry->length;
		}
	if (fd >= 0)
		tws_sys1(SYS_close, fd);
}

/* The totals of a run, HASH-TAG.totals, become a segment to be folded when the run has
 * ended. */
static void release_run(struct tws_scan *scan, const char *name)
{
	const char *at = strchr(name, '-');
	char tag[TWS_RUN_TAG_SIZE] = "", segment[96];
	struct tws_text text = tws_text_begin(segment, sizeof(segment));
	uint8_t run[TWS_RUN_SIZE];
	int fd;

	if (!at || strlen(at + 1) != sizeof(tag) - 1 + strlen(TWS_TOTALS_SUFFIX))
		return;
	memcpy(tag, at + 1, sizeof(tag) - 1);
	if (!tws_run_parse(tag, run) || tws_run_goes_on(scan->directory, run))
		return;
	tws_text_number(&text, tws_text_parse(name));
	tws_text_add(&text, "-");
	tws_text_add(&text, tag);
	tws_text_add(&text, TWS_SEGMENT_SUFFIX);
	fd = tws_fold_hold(scan->directory, name);
	if (fd < 0)
		return;
	tws_sys5(SYS_renameat2, scan->directory, name, scan->directory, segment,
		 RENAME_NOREPLACE);
	tws_fold_let_go(fd);
}

static void scan_name(struct tws_scan *scan, const char *name)
{
	if (tws_fold_ends_with(name, TWS_TOTALS_SUFFIX))
		release_run(scan, name);
	else if (tws_fold_ends_with(name, TWS_SEGMENT_SUFFIX))
		consider(scan, name);
	else if (tws_fold_ends_with(name, TWS_TEMPORARY_SUFFIX))
		remove_if_old(scan->directory, name, TEMPORARY_AGE_S);
}

/* Whether `a` is to be folded before `b`. An unsettled one would count as unseen, so it
 * is kept as long as others can be folded in its place. */
static bool goes_before(const struct tws_candidate *a, const struct tws_candidate *b)
{
	if (a->unsettled != b->unsettled)
		return b->unsettled;
	return a->heartbeat_ns <= b->heartbeat_ns;
}

static void sort_candidates(struct tws_scan *scan)
{
	for (uint32_t gap = scan->count / 2; gap; gap /= 2)
		for (uint32_t i = gap; i < scan->count; i++)
			for (uint32_t j = i; j >= gap; j -= gap) {
				struct tws_candidate *low = &scan->candidates[j - gap];
				struct tws_candidate *high = &scan->candidates[j];
				struct tws_candidate swap = *low;

				if (goes_before(low, high))
					break;
				*low = *high;
				*high = swap;
			}
}

void tws_fold_scan(struct tws_scan *scan)
{
	struct stat stat = {0};

	if (tws_sys4(SYS_newfstatat, AT_FDCWD, "/proc/self/ns/pid", &stat, 0) == 0)
		scan->pid_namespace = stat.st_ino;
	tws_fold_each_name(scan, scan_name);
	sort_candidates(scan);
}

/* Returns the next candidates of one application that are due, and takes them off the
 * list. */
uint32_t tws_fold_next(struct tws_scan *scan, const struct tws_fold_limits *limits,
		       struct tws_candidate **ret_batch)
{
	uint64_t age = (uint64_t)scan->retention_s * SECOND_NS;
	uint32_t keep = limits->max_segments ? limits->max_segments : 512;
	uint32_t left = 0, count = 0;
	uint64_t hash = 0;

	for (uint32_t i = 0; i < scan->count; i++)
		left += scan->candidates[i].name[0] != '\0';
	for (uint32_t i = 0; i < scan->count && count < TWS_FOLD_BATCH; i++) {
		struct tws_candidate *at = &scan->candidates[i];

		if (!at->name[0] || (count && at->exe_hash != hash))
			continue;
		if (left <= keep && scan->now_ns - at->heartbeat_ns < age)
			continue;
		hash = at->exe_hash;
		ret_batch[count++] = at;
		left--;
	}
	return count;
}
