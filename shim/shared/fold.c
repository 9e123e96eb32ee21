/* SPDX-License-Identifier: MIT
 *
 * The totals file, and the order of steps that makes each segment count exactly once; see
 * fold.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "shim/shared/clock.h"
#include "shim/shared/fold_parts.h"
#include "shim/shared/newer.h"
#include "shim/shared/rundir.h"
#include "shim/shared/slices.h"
#include "shim/shared/sys.h"
#include "shim/shared/temporary.h"
#include "shim/shared/text.h"

static uint64_t lay(struct tws_header *totals, enum tws_section_id id, size_t element,
		    uint32_t count, uint64_t offset)
{
	totals->section[id] = (struct tws_section){
	    .offset = offset, .element_size = (uint32_t)element, .count = count};
	return (offset + element * count + 63) / 64 * 64;
}

static void lay_out_totals(struct tws_header *totals, const struct tws_header *example)
{
	uint64_t end = 4096;

	*totals = *example;
	end = lay(totals, TWS_SECTION_PROCESS, sizeof(struct tws_counters), 1, end);
	end = lay(totals, TWS_SECTION_FOLDED, sizeof(struct tws_folded), TWS_FOLD_NAMES,
		  end);
	end = lay(totals, TWS_SECTION_ARMS, sizeof(struct tws_arm), TWS_ARMS, end);
	end = lay(totals, TWS_SECTION_DESTINATIONS, sizeof(struct tws_destination),
		  TWS_FOLD_DESTINATIONS, end);
	end = lay(totals, TWS_SECTION_TIME_WAIT, sizeof(uint64_t), 65536, end);
	end = lay(totals, TWS_SECTION_CONNECTIONS, sizeof(struct tws_connection), 0, end);
	end = lay(totals, TWS_SECTION_RULES, sizeof(struct tws_rule_status), 0, end);
	end = lay(totals, TWS_SECTION_ENDED, sizeof(struct tws_ended), 0, end);
	totals->slices = (struct tws_section){.offset = end,
					      .element_size = sizeof(struct tws_slice),
					      .count = TWS_SLICES_TOTALS,
					      .ready = TWS_SLICES_OF_TOTALS};
	end += sizeof(struct tws_slice) * TWS_SLICES_TOTALS;
	totals->slice_tickets = 0;
	totals->slices_from = totals->process_slice = 0;
	totals->size = end;
	totals->abi_minor = TWS_ABI_MINOR;
	totals->state = TWS_SEGMENT_TOTALS;
	totals->pid = 0;
	totals->start_time = 0;
	totals->ended_tickets = totals->time_wait_tickets = 0;
	totals->heartbeat_ns = 0;
	totals->folded_processes = 0;
	totals->names.parent = 0;
	memset(totals->folded_observed, 0, sizeof(totals->folded_observed));
	totals->section[TWS_SECTION_PROCESS].used = 1;
	totals->section[TWS_SECTION_DESTINATIONS].used = 1;
}

static bool is_named(const struct tws_header *totals, const char *name)
{
	const struct tws_folded *folded = tws_fold_section(totals, TWS_SECTION_FOLDED);

	for (uint32_t i = 0; i < totals->section[TWS_SECTION_FOLDED].used; i++)
		if (!strcmp(folded[i].name, name))
			return true;
	return false;
}

static bool add_name(struct tws_header *totals, const char *name)
{
	struct tws_section *at = &totals->section[TWS_SECTION_FOLDED];
	struct tws_folded *folded = tws_fold_section(totals, TWS_SECTION_FOLDED);

	if (at->used == at->count)
		return false;
	memcpy(folded[at->used++].name, name, strlen(name) + 1);
	return true;
}

/* Returns the name of a folded segment if it is a valid one, else NULL. */
static const char *folded_name(const struct tws_folded *folded)
{
	return memchr(folded->name, '\0', sizeof(folded->name)) &&
		       !strchr(folded->name, '/') &&
		       tws_fold_ends_with(folded->name, TWS_SEGMENT_SUFFIX)
		   ? folded->name
		   : NULL;
}

/* Keeps the names of segments that the old totals count and that could not be removed.
 * Returns false if there are too many. */
static bool keep_names(struct tws_header *totals, const struct tws_header *old,
		       int directory)
{
	const struct tws_folded *folded = tws_fold_section(old, TWS_SECTION_FOLDED);

	for (uint32_t i = 0; i < tws_fold_used(old, TWS_SECTION_FOLDED); i++) {
		const char *name = folded_name(&folded[i]);

		if (name && !is_named(totals, name) &&
		    tws_sys4(SYS_faccessat, directory, name, 0, 0) != -ENOENT &&
		    !add_name(totals, name))
			return false;
	}
	return true;
}

static uint64_t inode_of(int directory, const char *name)
{
	struct stat stat = {0};

	return tws_sys4(SYS_newfstatat, directory, name, &stat, AT_SYMLINK_NOFOLLOW) == 0
		   ? stat.st_ino
		   : 0;
}

/* Whoever replaces a totals file locks it first, so that nobody else replaces it
 * meanwhile, whatever happens to the directory's lock. Only those who may write the file
 * can lock it. */
int tws_fold_hold(int directory, const char *name)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat stat = {0};
	int fd = (int)tws_sys4(SYS_openat, directory, name,
			       O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	if (tws_sys3(SYS_fcntl, fd, F_OFD_SETLK, &whole) == 0 &&
	    tws_sys2(SYS_fstat, fd, &stat) == 0 &&
	    inode_of(directory, name) == stat.st_ino)
		return fd;
	tws_sys1(SYS_close, fd);
	return -EAGAIN;
}

/* Unlocks explicitly, because a forked child may have the descriptor too. */
void tws_fold_let_go(int fd)
{
	struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	if (fd < 0)
		return;
	tws_sys3(SYS_fcntl, fd, F_OFD_SETLK, &whole);
	tws_sys1(SYS_close, fd);
}

/* A totals file that nobody can read must not stop folding. It is renamed to a name that
 * the reader reports; a few of these are kept, then the last one is replaced. */
static bool set_aside(int directory, const char *name)
{
	char aside[96];
	long ret = -EEXIST;

	for (unsigned i = 0; i < TWS_FOLD_ASIDE && ret == -EEXIST; i++) {
		struct tws_text text = tws_text_begin(aside, sizeof(aside));

		tws_text_add(&text, name);
		tws_text_add(&text, "-");
		tws_text_number(&text, i);
		tws_text_add(&text, TWS_ASIDE_SUFFIX);
		ret = tws_sys5(SYS_renameat2, directory, name, directory, aside,
			       RENAME_NOREPLACE);
	}
	if (ret == -EEXIST)
		ret = tws_sys4(SYS_renameat, directory, name, directory, aside);
	return ret == 0;
}

static bool add_old(struct tws_header *totals, int directory, struct tws_header *old,
		    uint16_t *index)
{
	totals->created_realtime_ns = old->created_realtime_ns;
	totals->created_monotonic_ns = old->created_monotonic_ns;
	tws_fold_add(totals, old, index);
	return keep_names(totals, old, directory);
}

/* Takes in the old totals like a segment. `fd` is the result of tws_fold_hold(). Returns
 * false if that is not possible now. */
static bool take_old(struct tws_header *totals, int directory, const char *name, int fd,
		     uint16_t *index, bool *ret_replaces)
{
	struct tws_fold_file file;
	struct tws_header *old;

	*ret_replaces = false;
	if (fd == -ENOENT || fd == -EAGAIN)
		return fd == -ENOENT;
	old = tws_fold_read_segment(directory, name, &file);
	if (!old)
		return (file.condition == TWS_FOLD_DAMAGED ||
			file.condition == TWS_FOLD_FOREIGN) &&
		       set_aside(directory, name);
	*ret_replaces = fd >= 0 && add_old(totals, directory, old, index);
	tws_fold_release(old, file.size);
	return *ret_replaces;
}

static bool write_bytes(int fd, const void *bytes, uint64_t size, uint64_t offset)
{
	const char *at = bytes;

	while (size) {
		long done = tws_sys4(SYS_pwrite64, fd, at, size, offset);

		if (done <= 0)
			return false;
		at += done;
		offset += (uint64_t)done;
		size -= (uint64_t)done;
	}
	return true;
}

static bool write_section(int fd, const struct tws_header *totals,
			  const struct tws_section *at)
{
	return write_bytes(fd, (const char *)totals + at->offset,
			   (uint64_t)at->used * at->element_size, at->offset);
}

/* Writes only the used parts; the rest stays a hole. */
static bool write_totals(int fd, const struct tws_header *totals)
{
	if (tws_sys2(SYS_ftruncate, fd, totals->size) != 0 ||
	    !write_bytes(fd, totals, sizeof(*totals), 0))
		return false;
	for (unsigned id = 0; id < TWS_SECTIONS; id++)
		if (!write_section(fd, totals, &totals->section[id]))
			return false;
	return write_section(fd, totals, &totals->slices);
}

/* `replaces`: we hold a lock on the existing totals; otherwise there must be none, then
 * as before. */
static bool replace(int directory, const char *name, const struct tws_header *totals,
		    bool replaces)
{
	char temporary[TWS_TEMPORARY_SIZE];
	bool ret;
	int fd;

	if (!tws_may_write(totals->size))
		return false;
	fd = tws_temporary_make(directory, temporary);
	if (fd < 0)
		return false;
	tws_share_as_directory(directory, fd);
	ret = write_totals(fd, totals);
	tws_sys1(SYS_close, fd);
	if (ret && tws_sys5(SYS_renameat2, directory, temporary, directory, name,
			    replaces ? 0 : RENAME_NOREPLACE) == 0)
		return true;
	tws_sys3(SYS_unlinkat, directory, temporary, 0);
	return false;
}

static void unlink_named(int directory, const struct tws_header *totals)
{
	const struct tws_folded *folded = tws_fold_section(totals, TWS_SECTION_FOLDED);

	for (uint32_t i = 0; i < tws_fold_used(totals, TWS_SECTION_FOLDED); i++)
		if (folded_name(&folded[i]))
			tws_sys3(SYS_unlinkat, directory, folded[i].name, 0);
}

/* Removes segments that a totals file names: a fold counted them and was killed before it
 * removed them. */
static void finish_earlier(struct tws_scan *scan, const char *name)
{
	struct tws_fold_file file;
	struct tws_header *totals;

	if (!tws_fold_ends_with(name, TWS_TOTALS_SUFFIX))
		return;
	scan->totals++;
	totals = tws_fold_read_segment(scan->directory, name, &file);
	if (!totals)
		return;
	unlink_named(scan->directory, totals);
	tws_fold_release(totals, file.size);
}

/* A run that goes on has totals of its own, with its tag in the name. */
static void totals_name(const struct tws_candidate *example, char *ret_name, size_t size)
{
	struct tws_text text = tws_text_begin(ret_name, size);
	char tag[TWS_RUN_TAG_SIZE];

	tws_text_number(&text, example->exe_hash);
	if (tws_run_is_set(example->run)) {
		tws_run_tag(example->run, tag);
		tws_text_add(&text, "-");
		tws_text_add(&text, tag);
	}
	tws_text_add(&text, TWS_TOTALS_SUFFIX);
}

/* Adds candidates of one application to its totals, each name once. Returns how many. */
static uint32_t take_in_batch(struct tws_scan *scan, struct tws_candidate **batch,
			      uint32_t count, struct tws_header *totals, uint16_t *index)
{
	struct tws_fold_file file;
	uint32_t ret = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct tws_header *header =
		    is_named(totals, batch[i]->name)
			? NULL
			: tws_fold_read_segment(scan->directory, batch[i]->name, &file);

		if (!header)
			continue;
		if (add_name(totals, batch[i]->name)) {
			tws_fold_add(totals, header, index);
			ret++;
		}
		tws_fold_release(header, file.size);
	}
	return ret;
}

/* Returns the number of candidates that are now counted in the totals and removed. */
static uint32_t add_to_totals(struct tws_scan *scan, struct tws_candidate **batch,
			      uint32_t count, struct tws_header *totals, uint16_t *index)
{
	char name[80];
	uint32_t ret = 0;
	bool replaces;
	int fd;

	totals_name(batch[0], name, sizeof(name));
	fd = tws_fold_hold(scan->directory, name);
	if (take_old(totals, scan->directory, name, fd, index, &replaces))
		ret = take_in_batch(scan, batch, count, totals, index);
	if (ret && replace(scan->directory, name, totals, replaces))
		unlink_named(scan->directory, totals);
	else
		ret = 0;
	tws_fold_let_go(fd);
	return ret;
}

static uint32_t fold_batch(struct tws_scan *scan, struct tws_candidate **batch,
			   uint32_t count)
{
	static const uint64_t index_size = 65536 * sizeof(uint16_t);
	uint64_t total_size = 4u << 20;
	struct tws_fold_file file;
	struct tws_header *example =
	    tws_fold_read_segment(scan->directory, batch[0]->name, &file);
	struct tws_header *totals = example ? tws_fold_allocate(total_size) : NULL;
	uint16_t *index = totals ? tws_fold_allocate(index_size) : NULL;
	uint32_t ret = 0;

	if (index) {
		lay_out_totals(totals, example);
		memcpy(totals->run, batch[0]->run, sizeof(totals->run));
		if (batch[0]->nameless)
			memset(&totals->names, 0, sizeof(totals->names));
		ret = add_to_totals(scan, batch, count, totals, index);
	}
	tws_fold_release(index, index_size);
	tws_fold_release(totals, total_size);
	tws_fold_release(example, file.size);
	return ret;
}

/* Listing all files costs as much as folding hundreds of segments. If there are more than
 * the list holds, fold without a limit: otherwise a storm of short processes outruns the
 * folding. */
static uint32_t most_of(const struct tws_scan *scan, const struct tws_fold_limits *limits)
{
	return scan->count == TWS_FOLD_CANDIDATES ? 0 : limits->most;
}

static int fold_locked(struct tws_scan *scan, const struct tws_fold_limits *limits)
{
	struct tws_candidate *batch[TWS_FOLD_BATCH];
	uint32_t count, most, folded = 0;

	tws_fold_each_name(scan, finish_earlier);
	tws_fold_scan(scan);
	most = most_of(scan, limits);
	while ((!most || folded < most) &&
	       (count = tws_fold_next(scan, limits, batch)) > 0) {
		folded += fold_batch(scan, batch, count);
		for (uint32_t i = 0; i < count; i++)
			batch[i]->name[0] = '\0';
	}
	return (int)folded;
}

int tws_fold(int directory, const struct tws_fold_limits *limits)
{
	const uint64_t size = TWS_FOLD_CANDIDATES * sizeof(struct tws_candidate);
	struct tws_scan scan = {.directory = directory,
				.now_ns = tws_now(),
				.retention_s = limits->retention_s
						   ? limits->retention_s
						   : TWS_FOLD_RETENTION_S};
	int ret = 0;
	int lock = (int)tws_sys4(SYS_openat, directory, TWS_FOLD_LOCK,
				 O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (lock < 0)
		return lock;
	scan.candidates = tws_fold_allocate(size);
	if (scan.candidates && tws_sys2(SYS_flock, lock, LOCK_EX | LOCK_NB) == 0)
		ret = fold_locked(&scan, limits);
	tws_fold_release(scan.candidates, size);
	tws_sys2(SYS_flock, lock, LOCK_UN); /* a forked child may have it too */
	tws_sys1(SYS_close, lock);
	return ret;
}
