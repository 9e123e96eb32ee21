/* SPDX-License-Identifier: MIT */
#include "tools/observe/publish_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "shim/shared/layout.h"
#include "shim/shared/newer.h"
#include "shim/shared/slices.h"
#include "shim/shared/temporary.h"
#include "tools/kernel/kernel.h"
#include "tools/kernel/proc_file.h"
#include "tools/kernel/process.h"

#define IMAGES_MAX                                                                       \
	1000 /* execs of one process, and observers of it, one after another             \
	      */
#define NAME_SIZE 96
#define PIECE	  8192 /* the least number of bytes that are backed at once */

void publish_writer_init(struct publish_writer *ret_writer, enum tws_observer source)
{
	*ret_writer = (struct publish_writer){
	    .source = source,
	    .pid = (uint32_t)getpid(),
	    .pid_namespace = kernel_namespace("pid"),
	    .start_time = process_start_time(getpid()),
	};
	proc_boot_id(ret_writer->boot_id);
}

static void lay_out_observed(struct tws_header *layout,
			     const struct publish_writer *writer,
			     const struct publish_subject *subject)
{
	static const struct tws_segment_sizes usual;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*layout = (struct tws_header){
	    .pid_namespace = subject->pid_namespace,
	    .net_namespace = subject->net_namespace,
	    .start_time = subject->start_time,
	    .pid = subject->pid,
	    .uid = subject->uid,
	    .created_realtime_ns =
		(uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
	    .created_monotonic_ns = tws_now(),
	    .short_lived_ms = TWS_SHORT_LIVED_MS,
	    .detail = 1,
	    .observer = writer->source,
	    .observer_pid = writer->pid,
	    .observer_pid_namespace = writer->pid_namespace,
	    .observer_start_time = writer->start_time,
	};
	memcpy(layout->boot_id, writer->boot_id, sizeof(layout->boot_id));
	memcpy(layout->run, writer->run, sizeof(layout->run));
	memcpy(layout->exe, subject->exe, sizeof(layout->exe) - 1);
	layout->names = subject->names;
	tws_segment_lay_out(layout, &usual);
}

/* The header, the process counters and the last page. A kernel without
 * MADV_POPULATE_WRITE (before 5.14) has all of it backed at once. */
static int back_first_pages(int fd, struct tws_header *header, uint64_t size)
{
	uint64_t first = 4096 + sizeof(struct tws_counters);
	char *last = (char *)header + size - 4096;

	if (madvise(header, first, MADV_POPULATE_WRITE) == 0)
		return madvise(last, 4096, MADV_POPULATE_WRITE) == 0 ? 0 : -ENOSPC;
	if (errno != EINVAL)
		return -ENOSPC;
	return -posix_fallocate(fd, 0, (off_t)size);
}

static int publish_name(int directory, const char *temporary, struct tws_header *header)
{
	char name[NAME_SIZE];

	for (header->image = 0; header->image < IMAGES_MAX; header->image++) {
		snprintf(name, sizeof(name),
			 "%" PRIu64 "-%" PRIu32 "-%" PRIu64
			 "-%" PRIu32 TWS_SEGMENT_SUFFIX,
			 header->pid_namespace, header->pid, header->start_time,
			 header->image);
		if (syscall(SYS_renameat2, directory, temporary, directory, name,
			    RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int fill_file(struct publish_file *file, const struct tws_header *layout,
		     int directory, int fd, const char *temporary)
{
	int result;

	if (ftruncate(fd, (off_t)layout->size) != 0)
		return -errno;
	file->header =
	    mmap(NULL, layout->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file->header == MAP_FAILED) {
		file->header = NULL;
		return -errno;
	}
	result = back_first_pages(fd, file->header, layout->size);
	if (result != 0)
		return result;
	tws_segment_begin(file->header, layout);
	return publish_name(directory, temporary, file->header);
}

int publish_file_make(struct publish_file *ret_file, const struct publish_writer *writer,
		      const struct publish_subject *subject, int directory)
{
	struct tws_header layout;
	char temporary[TWS_TEMPORARY_SIZE];
	int result, fd;

	lay_out_observed(&layout, writer, subject);
	*ret_file = (struct publish_file){.size = layout.size};
	memcpy(ret_file->section, layout.section, sizeof(layout.section));
	ret_file->slices = layout.slices;
	fd = tws_temporary_make(directory, temporary);
	if (fd < 0)
		return fd;
	tws_share_as_directory(directory, fd);
	result = fill_file(ret_file, &layout, directory, fd, temporary);
	close(fd);
	if (result != 0) {
		unlinkat(directory, temporary, 0);
		publish_file_close(ret_file);
	}
	return result;
}

void publish_file_close(struct publish_file *file)
{
	if (file->header)
		munmap(file->header, file->size);
	file->header = NULL;
}

/* EINVAL: this kernel backed the whole file when it was made. */
static bool back_elements(struct publish_file *file, const struct tws_section *section,
			  uint32_t *ready_now, uint32_t index)
{
	uint32_t least = PIECE / section->element_size, ready = *ready_now * 2;
	uint64_t from =
	    (section->offset + (uint64_t)*ready_now * section->element_size) & ~4095ULL;
	uint64_t end;

	if (ready < least)
		ready = least;
	if (ready <= index)
		ready = index + 1;
	if (ready > section->count)
		ready = section->count;
	end = section->offset + (uint64_t)ready * section->element_size;
	if (madvise((char *)file->header + from, end - from, MADV_POPULATE_WRITE) != 0 &&
	    errno != EINVAL)
		return false;
	*ready_now = ready;
	return true;
}

static bool back_section(struct publish_file *file, enum tws_section_id id,
			 uint32_t index)
{
	if (!back_elements(file, &file->section[id], &file->ready[id], index))
		return false;
	file->header->section[id].ready = file->ready[id];
	return true;
}

static bool reach_slice(struct publish_file *file, uint32_t place)
{
	uint32_t *used = &file->header->slices.used;

	if (place >= file->slices_ready &&
	    !back_elements(file, &file->slices, &file->slices_ready, place))
		return false;
	if (*used <= place)
		__atomic_store_n(used, place + 1, __ATOMIC_RELEASE);
	return true;
}

void publish_file_note(struct publish_file *file, uint32_t destination, uint64_t now)
{
	struct tws_header *header = file->header;
	struct tws_destination *entry = NULL;
	const struct tws_counters *counters =
	    publish_file_at(file, TWS_SECTION_PROCESS, 0);
	struct tws_slice about = {.until = tws_slice_of(now), .destination = destination};
	uint64_t ticket = header->slice_tickets;

	if (destination != TWS_SLICE_PROCESS) {
		entry = publish_file_at(file, TWS_SECTION_DESTINATIONS, destination);
		counters = &entry->counters;
	}
	about.slice =
	    tws_slice_leave(entry ? &entry->slice : &header->process_slice, about.until);
	if (!about.slice)
		return;
	__atomic_store_n(&header->slice_tickets, ticket + 1, __ATOMIC_RELEASE);
	if (reach_slice(file, (uint32_t)(ticket % file->slices.count)))
		tws_slice_fill(
		    (struct tws_slice *)(void *)((char *)header + file->slices.offset) +
			ticket % file->slices.count,
		    ticket, &about, counters);
}

bool publish_file_reach(struct publish_file *file, enum tws_section_id id, uint32_t index)
{
	uint32_t *used = &file->header->section[id].used;

	if (index >= file->section[id].count)
		return false;
	if (index >= file->ready[id] && !back_section(file, id, index))
		return false;
	if (*used <= index)
		__atomic_store_n(used, index + 1, __ATOMIC_RELEASE);
	return true;
}
