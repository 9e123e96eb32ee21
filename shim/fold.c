/* SPDX-License-Identifier: MIT
 *
 * Folding, see fold.h. A dead segment is read into an anonymous copy and validated before
 * anything in it is believed; the new totals file is mapped and backed before it is
 * touched.
 */
#include "shim/fold.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <stddef.h>
#include "shim/sys.h"
#include "shim/text.h"

#define SECOND_NS	 1000000000u
#define SIZE_MAX_SEGMENT (64u << 20)
#define CANDIDATES	 1024
#define HELD_AT_MOST_S	 86400ull
#define TEMPORARY_AGE_S	 60

struct candidate {
	char name[96];
	uint64_t heartbeat_ns;
	uint64_t exe_hash;
};

struct scan {
	int directory;
	uint64_t now_ns;
	uint64_t pid_namespace;	      /* ours; inode */
	struct candidate *candidates; /* dead segments */
	uint32_t count;
};

/* ------------------------------------------------------------------- memory */

static void *allocate(uint64_t size)
{
	long ret = tws_sys6(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return ret < 0 && ret > -4096 ? NULL : (void *)ret;
}

static void release(void *memory, uint64_t size)
{
	if (memory)
		tws_sys2(SYS_munmap, memory, size);
}

static bool read_all(int fd, void *bytes, uint64_t size, uint64_t offset)
{
	return tws_sys4(SYS_pread64, fd, bytes, size, offset) == (long)size;
}

/* The used parts only: the rest is holes. */
static bool read_sections(int fd, struct tws_header *header)
{
	for (unsigned id = 0; id < TWS_SECTIONS; id++) {
		const struct tws_section *at = &header->section[id];
		uint32_t count = at->used < at->count ? at->used : at->count;

		if (!read_all(fd, (char *)header + at->offset,
			      (uint64_t)count * at->element_size, at->offset))
			return false;
	}
	return true;
}

static bool read_header(int fd, struct tws_header *ret_header, uint64_t *ret_size)
{
	struct stat stat;

	if (tws_sys2(SYS_fstat, fd, &stat) != 0 || !S_ISREG(stat.st_mode) ||
	    stat.st_size > SIZE_MAX_SEGMENT ||
	    !read_all(fd, ret_header, sizeof(*ret_header), 0))
		return false;
	*ret_size = (uint64_t)stat.st_size;
	return !tws_segment_validate(ret_header, sizeof(*ret_header), *ret_size);
}

static int open_file(int directory, const char *name)
{
	return (int)tws_sys4(SYS_openat, directory, name,
			     O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
}

/* A private copy of a segment or totals file; NULL: not to be had or not to be believed.
 */
static struct tws_header *read_segment(int directory, const char *name,
				       uint64_t *ret_size)
{
	struct tws_header header;
	struct tws_header *ret = NULL;
	int fd = open_file(directory, name);

	if (fd < 0)
		return NULL;
	if (read_header(fd, &header, ret_size))
		ret = allocate(*ret_size);
	if (ret) {
		*ret = header;
		if (!read_sections(fd, ret)) {
			release(ret, *ret_size);
			ret = NULL;
		}
	}
	tws_sys1(SYS_close, fd);
	return ret;
}

static void *section(const struct tws_header *header, enum tws_section_id id)
{
	return (char *)(uintptr_t)header + header->section[id].offset;
}

static uint32_t used(const struct tws_header *header, enum tws_section_id id)
{
	const struct tws_section *at = &header->section[id];

	return at->used < at->count ? at->used : at->count;
}

/* ----------------------------------------------------------------- scanning */

static bool ends_with(const char *name, const char *suffix)
{
	size_t length = strlen(name), tail = strlen(suffix);

	return length > tail && !strcmp(name + length - tail, suffix);
}

static uint64_t hash_string(const char *string)
{
	uint64_t ret = 14695981039346656037u;

	while (*string)
		ret = (ret ^ (uint8_t)*string++) * 1099511628211u;
	return ret;
}

/* Only a process of our own pid namespace and boot can be known to be dead. A pid that
 * was given to another process keeps its dead predecessor's segment a little longer. */
static bool is_dead(const struct scan *scan, const struct tws_header *header)
{
	return header->pid_namespace == scan->pid_namespace &&
	       tws_sys2(SYS_kill, header->pid, 0) == -ESRCH;
}

/* Connections that another process may still hold keep the books open, for a day. */
static bool is_held(int fd, const struct tws_header *header)
{
	const struct tws_section *at = &header->section[TWS_SECTION_CONNECTIONS];
	uint64_t size =
	    (uint64_t)used(header, TWS_SECTION_CONNECTIONS) * at->element_size;
	struct tws_connection *slot = size ? allocate(size) : NULL;
	bool ret = false;

	if (slot && read_all(fd, slot, size, at->offset))
		for (uint32_t i = 0; i < used(header, TWS_SECTION_CONNECTIONS); i++)
			ret |= slot[i].state == TWS_CONN_OPEN &&
			       slot[i].flags & TWS_CONN_SHARED;
	release(slot, size);
	return ret;
}

static bool is_candidate(const struct scan *scan, int fd, struct tws_header *ret_header)
{
	uint64_t size;

	if (!read_header(fd, ret_header, &size) ||
	    ret_header->state == TWS_SEGMENT_TOTALS || !is_dead(scan, ret_header))
		return false;
	return scan->now_ns - ret_header->heartbeat_ns > HELD_AT_MOST_S * SECOND_NS ||
	       !is_held(fd, ret_header);
}

static void consider(struct scan *scan, const char *name)
{
	struct candidate *candidate = &scan->candidates[scan->count];
	struct tws_header header;
	int fd;

	if (scan->count == CANDIDATES || strlen(name) >= sizeof(candidate->name))
		return;
	fd = open_file(scan->directory, name);
	if (fd < 0)
		return;
	if (is_candidate(scan, fd, &header)) {
		strcpy(candidate->name, name);
		candidate->heartbeat_ns = header.heartbeat_ns;
		candidate->exe_hash = hash_string(header.exe);
		scan->count++;
	}
	tws_sys1(SYS_close, fd);
}

/* What a process that was killed while making a segment left behind. */
static void remove_if_old(int directory, const char *name)
{
	struct stat stat;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (tws_sys4(SYS_newfstatat, directory, name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
	    stat.st_mtim.tv_sec + TEMPORARY_AGE_S < now.tv_sec)
		tws_sys3(SYS_unlinkat, directory, name, 0);
}

struct kernel_dirent {
	uint64_t inode;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* Each name of the directory, from a descriptor of its own: the caller's keeps its place.
 */
static void each_name(struct scan *scan, void (*act)(struct scan *scan, const char *name))
{
	char buffer[2048] __attribute__((aligned(8)));
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

static void scan_name(struct scan *scan, const char *name)
{
	if (ends_with(name, TWS_SEGMENT_SUFFIX))
		consider(scan, name);
	else if (ends_with(name, TWS_TEMPORARY_SUFFIX))
		remove_if_old(scan->directory, name);
}

/* ------------------------------------------------------------------- adding */

static void add_counters(struct tws_counters *to, const struct tws_counters *from)
{
	uint64_t peak = to->value[TWS_peak_open];

	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		to->value[i] += from->value[i];
	to->value[TWS_peak_open] =
		peak > from->value[TWS_peak_open] ? peak : from->value[TWS_peak_open];
	for (unsigned h = 0; h < TWS_HISTOGRAMS; h++) {
		for (unsigned b = 0; b < TWS_BUCKETS; b++)
			to->histogram[h].count[b] += from->histogram[h].count[b];
		to->histogram[h].sum += from->histogram[h].sum;
	}
}

static bool same_address(const struct tws_address *a, const struct tws_address *b)
{
	return a->port == b->port && a->family == b->family &&
	       !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* Entry of an address in the totals; 0, `other`, when they are full. */
static uint32_t find_destination(struct tws_header *totals,
				 const struct tws_address *address)
{
	struct tws_section *at = &totals->section[TWS_SECTION_DESTINATIONS];
	struct tws_destination *entry = section(totals, TWS_SECTION_DESTINATIONS);

	for (uint32_t i = 1; i < at->used; i++)
		if (same_address(&entry[i].address, address))
			return i;
	if (at->used >= at->count)
		return 0;
	entry[at->used].address = *address;
	entry[at->used].state = TWS_DESTINATION_READY;
	return at->used++;
}

void tws_fold_settle(const struct tws_header *header, const struct tws_connection *slot,
		     enum tws_ending *ret_ending, enum tws_via *ret_via)
{
	*ret_via = (enum tws_via)slot->via;
	*ret_ending = slot->via || slot->state == TWS_CONN_ENDING
			  ? (enum tws_ending)slot->ending
			  : TWS_END_UNSEEN;
	if (slot->via == TWS_VIA_NONE && slot->state != TWS_CONN_ENDING)
		*ret_via =
		    header->state == TWS_SEGMENT_EXITED ? TWS_VIA_EXIT : TWS_VIA_KILL;
	if (*ret_ending < TWS_END_ABANDONED || *ret_ending > TWS_END_FAILED)
		*ret_ending = TWS_END_UNSEEN;
}

static uint64_t sum(const struct tws_counters *counters, enum tws_counter first,
		    enum tws_counter last)
{
	uint64_t ret = 0;

	for (unsigned i = first; i <= last; i++)
		ret += counters->value[i];
	return ret;
}

/* Connections that the identities still owe for these counters. */
static uint64_t owed_open(const struct tws_counters *counters)
{
	return counters->value[TWS_established] -
	       sum(counters, TWS_ended_local_fin, TWS_ended_unseen);
}

static uint64_t owed_connecting(const struct tws_counters *counters)
{
	return counters->value[TWS_attempts] - counters->value[TWS_established] -
	       sum(counters, TWS_failed_refused, TWS_abandoned);
}

/* Counts an open connection of a dead process as ended, if the counters still owe it: a
 * kill may have struck between counting and freeing. */
static void end_slot(const struct tws_header *header, const struct tws_connection *slot,
		     struct tws_counters *counters)
{
	enum tws_ending ending;
	enum tws_via via;
	bool open = owed_open(counters) > 0;

	tws_fold_settle(header, slot, &ending, &via);
	if (!open && !owed_connecting(counters))
		return;
	if (ending == TWS_END_ABANDONED || (!open && ending == TWS_END_UNSEEN)) {
		counters->value[TWS_abandoned]++;
		counters->value[TWS_established] -= open;
		return;
	}
	if (ending == TWS_END_FAILED) {
		counters->value[TWS_failed_other]++;
		counters->value[TWS_established] -= open;
		return;
	}
	counters->value[TWS_established] += !open;
	counters->value[tws_ending_counter(ending)]++;
	counters->value[tws_via_counter(via)]++;
}

static void end_slots(struct tws_header *header)
{
	struct tws_connection *slot = section(header, TWS_SECTION_CONNECTIONS);
	struct tws_destination *entry = section(header, TWS_SECTION_DESTINATIONS);
	uint32_t destinations = used(header, TWS_SECTION_DESTINATIONS);

	for (uint32_t i = 0; i < used(header, TWS_SECTION_CONNECTIONS); i++)
		if (slot[i].state >= TWS_CONN_CONNECTING &&
		    slot[i].state <= TWS_CONN_ENDING &&
		    slot[i].destination < destinations)
			end_slot(header, &slot[i], &entry[slot[i].destination].counters);
}

static void clear_gauges(struct tws_counters *counters)
{
	counters->value[TWS_connecting] = 0;
	counters->value[TWS_open] = 0;
}

static void add_time_wait(struct tws_header *totals, const struct tws_header *header,
			  const uint16_t *index)
{
	struct tws_section *to = &totals->section[TWS_SECTION_TIME_WAIT];
	const uint64_t *from = section(header, TWS_SECTION_TIME_WAIT);
	uint64_t *ring = section(totals, TWS_SECTION_TIME_WAIT);

	for (uint32_t i = 0; i < used(header, TWS_SECTION_TIME_WAIT); i++) {
		uint16_t destination = TWS_TW_DESTINATION(from[i]);

		if (!from[i] || destination >= used(header, TWS_SECTION_DESTINATIONS))
			continue;
		ring[totals->time_wait_tickets++ % to->count] =
		    TWS_TW_PACK(TWS_TW_COOKIE(from[i]), (uint64_t)index[destination]);
	}
	to->used = totals->time_wait_tickets < to->count
		       ? (uint32_t)totals->time_wait_tickets
		       : to->count;
}

static bool same_arm(const struct tws_arm *a, const struct tws_arm *b)
{
	return !strncmp(a->name, b->name, TWS_NAME_SIZE) &&
	       !strncmp(a->experiment, b->experiment, TWS_NAME_SIZE);
}

static void add_arm(struct tws_header *totals, const struct tws_arm *arm)
{
	struct tws_section *at = &totals->section[TWS_SECTION_ARMS];
	struct tws_arm *entry = section(totals, TWS_SECTION_ARMS);
	uint32_t i = 0;

	while (i < at->used && !same_arm(&entry[i], arm))
		i++;
	if (i == at->count)
		return;
	if (i == at->used) {
		at->used++;
		memcpy(&entry[i], arm, offsetof(struct tws_arm, counters));
	}
	add_counters(&entry[i].counters, &arm->counters);
	clear_gauges(&entry[i].counters);
}

static void add_segment(struct tws_header *totals, struct tws_header *header,
			uint16_t *index)
{
	struct tws_destination *from = section(header, TWS_SECTION_DESTINATIONS);
	struct tws_destination *to = section(totals, TWS_SECTION_DESTINATIONS);
	const struct tws_arm *arm = section(header, TWS_SECTION_ARMS);
	uint32_t count = used(header, TWS_SECTION_DESTINATIONS);

	end_slots(header);
	add_counters(section(totals, TWS_SECTION_PROCESS),
		     section(header, TWS_SECTION_PROCESS));
	clear_gauges(section(totals, TWS_SECTION_PROCESS));
	for (uint32_t i = 0; i < count && i <= UINT16_MAX; i++) {
		index[i] = i ? (uint16_t)find_destination(totals, &from[i].address) : 0;
		add_counters(&to[index[i]].counters, &from[i].counters);
		clear_gauges(&to[index[i]].counters);
	}
	for (uint32_t i = 0; i < used(header, TWS_SECTION_ARMS); i++)
		if (arm[i].state == TWS_DESTINATION_READY)
			add_arm(totals, &arm[i]);
	add_time_wait(totals, header, index);
	if (header->heartbeat_ns > totals->heartbeat_ns)
		totals->heartbeat_ns = header->heartbeat_ns;
	totals->folded_processes +=
	    header->state == TWS_SEGMENT_TOTALS ? header->folded_processes : 1;
}

/* ---------------------------------------------------------- the totals file */

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
	struct tws_header *old = read_segment(directory, name, &size);

	if (!old)
		return tws_sys4(SYS_faccessat, directory, name, 0, 0) == -ENOENT;
	totals->created_realtime_ns = old->created_realtime_ns;
	totals->created_monotonic_ns = old->created_monotonic_ns;
	add_segment(totals, old, index);
	release(old, size);
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

	tws_text_add(&text, name);
	tws_text_add(&text, TWS_TEMPORARY_SUFFIX);
	tws_sys3(SYS_unlinkat, directory, temporary, 0);
	fd = (int)tws_sys4(SYS_openat, directory, temporary,
			   O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	written = write_totals(fd, totals);
	tws_sys1(SYS_close, fd);
	if (written && tws_sys4(SYS_renameat, directory, temporary, directory, name) == 0)
		return true;
	tws_sys3(SYS_unlinkat, directory, temporary, 0);
	return false;
}

/* --------------------------------------------------------------------- folding */

/* Segments that a totals file names were counted by a fold that did not live to unlink
 * them. */
static void finish_earlier(struct scan *scan, const char *name)
{
	uint64_t size;
	struct tws_header *totals;
	const struct tws_folded *folded;

	if (!ends_with(name, TWS_TOTALS_SUFFIX))
		return;
	totals = read_segment(scan->directory, name, &size);
	if (!totals)
		return;
	folded = section(totals, TWS_SECTION_FOLDED);
	for (uint32_t i = 0; i < used(totals, TWS_SECTION_FOLDED); i++)
		if (memchr(folded[i].name, '\0', sizeof(folded[i].name)) &&
		    !strchr(folded[i].name, '/') &&
		    ends_with(folded[i].name, TWS_SEGMENT_SUFFIX))
			tws_sys3(SYS_unlinkat, scan->directory, folded[i].name, 0);
	release(totals, size);
}

static void totals_name(uint64_t exe_hash, char *ret_name, size_t size)
{
	struct tws_text text = tws_text_begin(ret_name, size);

	tws_text_number(&text, exe_hash);
	tws_text_add(&text, TWS_TOTALS_SUFFIX);
}

/* Takes candidates of one application, from `first` on, into its totals. */
static uint32_t take_in(struct scan *scan, struct candidate **batch, uint32_t count,
			struct tws_header *totals, uint16_t *index)
{
	struct tws_section *folded = &totals->section[TWS_SECTION_FOLDED];
	struct tws_folded *names = section(totals, TWS_SECTION_FOLDED);
	uint64_t size;

	for (uint32_t i = 0; i < count; i++) {
		struct tws_header *header =
		    read_segment(scan->directory, batch[i]->name, &size);

		if (!header)
			continue;
		add_segment(totals, header, index);
		release(header, size);
		memcpy(names[folded->used++].name, batch[i]->name,
		       sizeof(batch[i]->name));
	}
	return folded->used;
}

static uint32_t fold_batch(struct scan *scan, struct candidate **batch, uint32_t count)
{
	static const uint64_t index_size = 65536 * sizeof(uint16_t);
	char name[64];
	uint64_t size, total_size = 4u << 20;
	struct tws_header *example = read_segment(scan->directory, batch[0]->name, &size);
	struct tws_header *totals = example ? allocate(total_size) : NULL;
	uint16_t *index = totals ? allocate(index_size) : NULL;
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
		struct tws_folded *names = section(totals, TWS_SECTION_FOLDED);

		tws_sys3(SYS_unlinkat, scan->directory, names[i].name, 0);
	}
	release(index, index_size);
	release(totals, total_size);
	release(example, size);
	return ret;
}

/* The next candidates of one application that are due; they are taken off the list. */
static uint32_t next_batch(struct scan *scan, const struct tws_fold_limits *limits,
			   struct candidate **ret_batch)
{
	uint64_t age =
	    (uint64_t)(limits->retention_s ? limits->retention_s : 60) * SECOND_NS;
	uint32_t keep = limits->max_segments ? limits->max_segments : 512;
	uint32_t left = 0, count = 0;
	uint64_t hash = 0;

	for (uint32_t i = 0; i < scan->count; i++)
		left += scan->candidates[i].name[0] != '\0';
	for (uint32_t i = 0; i < scan->count && count < TWS_FOLD_BATCH; i++) {
		struct candidate *at = &scan->candidates[i];

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

/* Oldest first, so that what goes early is what would have gone first. */
static void sort(struct scan *scan)
{
	for (uint32_t gap = scan->count / 2; gap; gap /= 2)
		for (uint32_t i = gap; i < scan->count; i++)
			for (uint32_t j = i; j >= gap; j -= gap) {
				struct candidate *low = &scan->candidates[j - gap];
				struct candidate *high = &scan->candidates[j];
				struct candidate swap = *low;

				if (low->heartbeat_ns <= high->heartbeat_ns)
					break;
				*low = *high;
				*high = swap;
			}
}

static int fold_locked(struct scan *scan, const struct tws_fold_limits *limits)
{
	struct candidate *batch[TWS_FOLD_BATCH];
	uint32_t count, folded = 0;
	struct stat stat;

	if (tws_sys4(SYS_newfstatat, AT_FDCWD, "/proc/self/ns/pid", &stat, 0) == 0)
		scan->pid_namespace = stat.st_ino;
	each_name(scan, finish_earlier);
	each_name(scan, scan_name);
	sort(scan);
	while ((!limits->most || folded < limits->most) &&
	       (count = next_batch(scan, limits, batch)) > 0) {
		folded += fold_batch(scan, batch, count);
		for (uint32_t i = 0; i < count; i++)
			batch[i]->name[0] = '\0';
	}
	return (int)folded;
}

int tws_fold(int directory, const struct tws_fold_limits *limits)
{
	const uint64_t size = CANDIDATES * sizeof(struct candidate);
	struct scan scan = {.directory = directory, .now_ns = tws_now()};
	int ret = 0;
	int lock = (int)tws_sys4(SYS_openat, directory, TWS_FOLD_LOCK,
				 O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (lock < 0)
		return lock;
	scan.candidates = allocate(size);
	if (scan.candidates && tws_sys2(SYS_flock, lock, LOCK_EX | LOCK_NB) == 0)
		ret = fold_locked(&scan, limits);
	release(scan.candidates, size);
	tws_sys1(SYS_close, lock);
	return ret;
}
