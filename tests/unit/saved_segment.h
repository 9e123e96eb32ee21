/* SPDX-License-Identifier: MIT
 *
 * Segments as a shim would leave them, made by a test: filled in memory, written to a
 * file, or given to the model as if read.
 */
#ifndef TWS_TESTS_SAVED_SEGMENT_H
#define TWS_TESTS_SAVED_SEGMENT_H

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/segments/reader.h"

#define SAVED_CONNECTIONS  8
#define SAVED_DESTINATIONS 4
#define SAVED_RING	   8
#define SAVED_TIME_WAIT	   16
#define SAVED_SLICES	   4
#define SAVED_SECOND	   1000000000ULL

struct saved {
	union {
		struct tws_header header;
		char page[4096];
	};
	struct tws_counters process __attribute__((aligned(64)));
	struct tws_connection connections[SAVED_CONNECTIONS] __attribute__((aligned(64)));
	struct tws_destination destinations[SAVED_DESTINATIONS]
	    __attribute__((aligned(64)));
	struct tws_arm arms[2] __attribute__((aligned(64)));
	struct tws_ended ended[SAVED_RING] __attribute__((aligned(64)));
	uint64_t time_wait[SAVED_TIME_WAIT] __attribute__((aligned(64)));
	struct tws_folded folded[2] __attribute__((aligned(64)));
	struct tws_slice slices[SAVED_SLICES] __attribute__((aligned(64)));
};

#define SAVED_SECTION(saved, id, member)                                                 \
	(saved)->header.section[id] = (struct tws_section)                               \
	{                                                                                \
		.offset = offsetof(struct saved, member),                                \
		.element_size = sizeof((saved)->member[0]),                              \
		.count = sizeof((saved)->member) / sizeof((saved)->member[0]),           \
	}

static inline struct tws_address saved_ipv4(uint8_t last, uint16_t port)
{
	return (struct tws_address){
	    .bytes = {10, 0, 0, last}, .port = port, .family = TWS_IPV4};
}

/* A valid, empty segment of this boot, made by a process that cannot be alive. */
static inline void saved_init(struct saved *saved, const char *exe,
			      const struct reader *reader)
{
	struct tws_header *header = &saved->header;

	memset(saved, 0, sizeof(*saved));
	*header = (struct tws_header){
	    .magic = TWS_MAGIC,
	    .byte_order = TWS_BYTE_ORDER,
	    .abi_major = TWS_ABI_MAJOR,
	    .abi_minor = TWS_ABI_MINOR,
	    .size = sizeof(*saved),
	    .header_size = sizeof(*header),
	    .section_count = TWS_SECTIONS,
	    .pid = 4242,
	    .start_time = 1,
	    .uid = (uint32_t)geteuid(),
	    .short_lived_ms = 1000,
	    .net_namespace = 1,
	    .state = TWS_SEGMENT_LIVE,
	    .detail = 1,
	};
	snprintf(header->exe, sizeof(header->exe), "%s", exe);
	if (reader) {
		memcpy(header->boot_id, reader->boot_id, sizeof(header->boot_id));
		header->pid_namespace = reader->processes.pid_namespace;
	}
	header->section[TWS_SECTION_PROCESS] =
	    (struct tws_section){.offset = offsetof(struct saved, process),
				 .element_size = sizeof(saved->process),
				 .count = 1,
				 .used = 1};
	SAVED_SECTION(saved, TWS_SECTION_CONNECTIONS, connections);
	SAVED_SECTION(saved, TWS_SECTION_DESTINATIONS, destinations);
	SAVED_SECTION(saved, TWS_SECTION_ARMS, arms);
	SAVED_SECTION(saved, TWS_SECTION_ENDED, ended);
	SAVED_SECTION(saved, TWS_SECTION_TIME_WAIT, time_wait);
	SAVED_SECTION(saved, TWS_SECTION_FOLDED, folded);
	header->slices = (struct tws_section){.offset = offsetof(struct saved, slices),
					      .element_size = sizeof(struct tws_slice),
					      .count = SAVED_SLICES};
	saved->destinations[0].state = TWS_DESTINATION_READY;
	header->section[TWS_SECTION_DESTINATIONS].used = 1;
}

static inline uint64_t *saved_destination(struct saved *saved, struct tws_address address)
{
	uint32_t index = saved->header.section[TWS_SECTION_DESTINATIONS].used++;

	saved->destinations[index].state = TWS_DESTINATION_READY;
	saved->destinations[index].address = address;
	return saved->destinations[index].counters.value;
}

static inline struct tws_connection *saved_connection(struct saved *saved, uint32_t state,
						      uint64_t cookie)
{
	uint32_t index = saved->header.section[TWS_SECTION_CONNECTIONS].used++;
	struct tws_connection *slot = &saved->connections[index];

	*slot = (struct tws_connection){.state = state,
					.cookie = cookie,
					.began_ns = SAVED_SECOND,
					.established_ns = SAVED_SECOND,
					.destination = 1};
	return slot;
}

static inline void saved_time_wait(struct saved *saved, uint64_t cookie)
{
	uint32_t index = saved->header.section[TWS_SECTION_TIME_WAIT].used++;

	saved->time_wait[index] = TWS_TW_PACK(cookie, 1);
	saved->header.time_wait_tickets++;
}

static inline struct tws_ended *saved_ended(struct saved *saved, uint64_t cookie,
					    enum tws_ending ending, uint64_t ended_ns)
{
	uint32_t index = saved->header.section[TWS_SECTION_ENDED].used++;

	saved->ended[index] = (struct tws_ended){.sequence = index + 1,
						 .cookie = cookie,
						 .ended_ns = ended_ns,
						 .ending = (uint8_t)ending,
						 .destination = 1};
	saved->header.ended_tickets++;
	return &saved->ended[index];
}

/* A destination had counted so many attempts, all ended by us, when it left a slice. */
static inline void saved_slice(struct saved *saved, uint32_t destination, uint32_t slice,
			       uint32_t until, uint64_t attempts)
{
	uint64_t ticket = saved->header.slice_tickets++;
	struct tws_slice *record = &saved->slices[ticket % SAVED_SLICES];

	*record = (struct tws_slice){.sequence = ticket + 1,
				     .slice = slice,
				     .until = until,
				     .destination = destination};
	record->value[TWS_attempts] = record->value[TWS_established] =
	    record->value[TWS_ended_local_fin] = attempts;
	if (saved->header.slices.used < SAVED_SLICES)
		saved->header.slices.used++;
}

/* The segment as the reader delivers it, of a process that is dead or alive. */
static inline struct segment saved_segment(struct saved *saved, enum process_life life)
{
	struct segment segment = {
	    .directory = "",
	    .name = "1-4242-1-0.seg",
	    .header = saved->header,
	    .life = life,
	    .process = saved->process,
	    .connections = saved->connections,
	    .destinations = saved->destinations,
	    .arms = saved->arms,
	    .ended = saved->ended,
	    .time_wait = saved->time_wait,
	    .folded = saved->folded,
	    .slices = saved->slices,
	};

	for (unsigned i = 0; i < TWS_SECTIONS; i++)
		segment.used[i] = saved->header.section[i].used;
	segment.used[TWS_SECTIONS] = saved->header.slices.used;
	return segment;
}

static inline int saved_write(const struct saved *saved, int directory, const char *name,
			      size_t size)
{
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int result = -1;

	if (fd >= 0 && write(fd, saved, size) == (ssize_t)size)
		result = 0;
	if (fd >= 0)
		close(fd);
	return result;
}

#endif
