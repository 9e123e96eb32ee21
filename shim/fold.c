/* SPDX-License-Identifier: MIT
 *
 * The totals file, and the order of steps that makes folding happen once; see fold.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "shim/fold_parts.h"
#include "shim/sys.h"
#include "shim/text.h"

static uint64_t lay(struct tws_header *totals, enum tws_section_id id, size_t element,
		    uint32_t count, uint64_t offset)
{
	totals->section[id] = (struct tws_section){
	    .offset = offset, .element_size = (uint32_t)element, .count = count};
	return (offset + element * count + 63) / 64 * 64;
}

static void lay_out(struct tws_header *totals, const struct tws_header *example)
{
	uint64_t end = 4096;

	*totals = *example;
	end = lay(totals, TWS_SECTION_PROCESS, sizeof(struct tws_counters), 1, end);
	end = lay(totals, TWS_SECTION_FOLDED, sizeof(struct tws_folded), TWS_FOLD_BATCH,
		  end);
	end = lay(totals, TWS_SECTION_ARMS, sizeof(struct tws_arm), TWS_ARMS, end);
	end = lay(totals, TWS_SECTION_DESTINATIONS, sizeof(struct tws_destination),
		  TWS_FOLD_DESTINATIONS, end);
	end = lay(totals, TWS_SECTION_TIME_WAIT, sizeof(uint64_t), 65536, end);
	end = lay(totals, TWS_SECTION_CONNECTIONS, sizeof(struct tws_connection), 0, end);
	end = lay(totals, TWS_SECTION_RULES, sizeof(struct tws_rule_status), 0, end);
	end = lay(totals, TWS_SECTION_ENDED, sizeof(struct tws_ended), 0, end);
	totals->size = end;
	totals->state = TWS_SEGMENT_TOTALS;
	totals->pid = 0;
	totals->start_time = 0;
	totals->ended_tickets = totals->time_wait_tickets = 0;
	totals->heartbeat_ns = 0;
	totals->folded_processes = 0;
	totals->section[TWS_SECTION_PROCESS].used = 1;
	totals->section[TWS_SECTION_DESTINATIONS].used = 1;
}

/* What the old totals say is taken in like a segment. Those of another layout (an older
 * version's) stay beside under their name and are not touched. */
static bool take_old(struct tws_header *totals, int directory, const char *name,
		     uint16_t *index)
{
	uint64_t size;
	struct tws_header *old = tws_fold_read_segment(directory, name, &size);

	if (!old)
		return tws_sys4(SYS_faccessat, directory, name, 0, 0) == -ENOENT;
	totals->created_realtime_ns = old->created_realtime_ns;
	totals->created_monotonic_ns = old->created_monotonic_ns;
	tws_fold_add(totals, old, index);
	tws_fold_release(old, size);
	return true;
}

static bool write_all(int fd, const void *bytes, uint64_t size, uint64_t offset)
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

/* The used parts only; the rest stays a hole. */
static bool write_totals(int fd, const struct tws_header *totals)
{
	if (tws_sys2(SYS_ftruncate, fd, totals->size) != 0 ||
	    !write_all(fd, totals, sizeof(*totals), 0))
		return false;
	for (unsigned id = 0; id < TWS_SECTIONS; id++) {
		const struct tws_section *at = &totals->section[id];

		if (!write_all(fd, (const char *)totals + at->offset,
			       (uint64_t)at->used * at->element_size, at->offset))
			return false;
	}
	return true;
}

static bool replace(int directory, const char *name, const struct tws_header *totals)
{
	char temporary[96];
	struct tws_text text = tws_text_begin(temporary, sizeof(temporary));
	bool written;
	int fd;

	if (!tws_may_write(totals->size))
		return false;
	tws_text_add(&text, name);
	tws_text_add(&text, TWS_TEMPORARY_SUFFIX);
	tws_sys3(SYS_unlinkat, directory, temporary, 0);
	fd = (int)tws_sys4(SYS_openat, directory, temporary,
			   O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	tws_share_as_directory(directory, fd);
	written = write_totals(fd, totals);
	tws_sys1(SYS_close, fd);
	if (written && tws_sys4(SYS_renameat, directory, temporary, directory, name) == 0)
		return true;
	tws_sys3(SYS_unlinkat, directory, temporary, 0);
	return false;
}

void tws_share_as_directory(int directory, int fd)
{
	struct stat stat = {0};
	bool shared = tws_sys2(SYS_fstat, directory, &stat) == 0 &&
		      stat.st_mode & S_IRGRP &&
		      tws_sys3(SYS_fchown, fd, -1, stat.st_gid) == 0;

	tws_sys2(SYS_fchmod, fd, shared ? 0640 : 0600);
}

/* Segments that a totals file names were counted by a fold that did not live to unlink
 * them. */
static void finish_earlier(struct tws_scan *scan, const char *name)
{
	uint64_t size;
	struct tws_header *totals;
	const struct tws_folded *folded;

	if (!tws_fold_ends_with(name, TWS_TOTALS_SUFFIX))
		return;
	totals = tws_fold_read_segment(scan->directory, name, &size);
	if (!totals)
		return;
	folded = tws_fold_section(totals, TWS_SECTION_FOLDED);
	for (uint32_t i = 0; i < tws_fold_used(totals, TWS_SECTION_FOLDED); i++)
		if (memchr(folded[i].name, '\0', sizeof(folded[i].name)) &&
		    !strchr(folded[i].name, '/') &&
		    tws_fold_ends_with(folded[i].name, TWS_SEGMENT_SUFFIX))
			tws_sys3(SYS_unlinkat, scan->directory, folded[i].name, 0);
	tws_fold_release(totals, size);
}

static void totals_name(uint64_t exe_hash, char *ret_name, size_t size)
{
	struct tws_text text = tws_text_begin(ret_name, size);

	tws_text_number(&text, exe_hash);
	tws_text_add(&text, TWS_TOTALS_SUFFIX);
}

/* Takes candidates of one application, from `first` on, into its totals. */
static uint32_t take_in(struct tws_scan *scan, struct tws_candidate **batch,
			uint32_t count, struct tws_header *totals, uint16_t *index)
{
	struct tws_section *folded = &totals->section[TWS_SECTION_FOLDED];
	struct tws_folded *names = tws_fold_section(totals, TWS_SECTION_FOLDED);
	uint64_t size;

	for (uint32_t i = 0; i < count; i++) {
		struct tws_header *header =
		    tws_fold_read_segment(scan->directory, batch[i]->name, &size);

		if (!header)
			continue;
		tws_fold_add(totals, header, index);
		tws_fold_release(header, size);
		memcpy(names[folded->used++].name, batch[i]->name,
		       sizeof(batch[i]->name));
	}
	return folded->used;
}

static uint32_t fold_batch(struct tws_scan *scan, struct tws_candidate **batch,
			   uint32_t count)
{
	static const uint64_t index_size = 65536 * sizeof(uint16_t);
	char name[64];
	uint64_t size, total_size = 4u << 20;
	struct tws_header *example =
	    tws_fold_read_segment(scan->directory, batch[0]->name, &size);
	struct tws_header *totals = example ? tws_fold_allocate(total_size) : NULL;
	uint16_t *index = totals ? tws_fold_allocate(index_size) : NULL;
	uint32_t ret = 0;

	totals_name(batch[0]->exe_hash, name, sizeof(name));
	if (index) {
		lay_out(totals, example);
		if (take_old(totals, scan->directory, name, index) &&
		    take_in(scan, batch, count, totals, index) &&
		    replace(scan->directory, name, totals))
			ret = totals->section[TWS_SECTION_FOLDED].used;
	}
	for (uint32_t i = 0; ret && i < ret; i++) {
		struct tws_folded *names = tws_fold_section(totals, TWS_SECTION_FOLDED);

		tws_sys3(SYS_unlinkat, scan->directory, names[i].name, 0);
	}
	tws_fold_release(index, index_size);
	tws_fold_release(totals, total_size);
	tws_fold_release(example, size);
	return ret;
}

/* The look at all files costs as much as folding hundreds: where more stand than the list
 * holds it has to be worth it, or a storm of short processes outruns the folding. */
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
	struct tws_scan scan = {.directory = directory, .now_ns = tws_now()};
	int ret = 0;
	int lock = (int)tws_sys4(SYS_openat, directory, TWS_FOLD_LOCK,
				 O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (lock < 0)
		return lock;
	scan.candidates = tws_fold_allocate(size);
	if (scan.candidates && tws_sys2(SYS_flock, lock, LOCK_EX | LOCK_NB) == 0)
		ret = fold_locked(&scan, limits);
	tws_fold_release(scan.candidates, size);
	tws_sys1(SYS_close, lock);
	return ret;
}
