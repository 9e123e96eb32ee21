/* SPDX-License-Identifier: MIT
 *
 * What follows from the layout of segment.h alone: which file is a usable segment, what
 * its numbers stand for, and how a new one is laid out. No system call, no allocation, no
 * state; the shim and the tools decide by the same functions.
 */
#include "shim/shared/layout.h"

#include <stddef.h>
#include <string.h>

#include "shim/shared/slices.h"

#define SECTION_ALIGNMENT 64

TWS_ASSERT(sizeof(struct tws_folded) == 96);
TWS_ASSERT(sizeof(struct tws_slice) == 32 + 8 * TWS_COUNTER_ROOM);

/* The sizes are exact for this ABI major: appending a counter would shift the
 * histograms behind it. */
static const uint32_t element_sizes[TWS_SECTIONS] = {
    [TWS_SECTION_PROCESS] = sizeof(struct tws_counters),
    [TWS_SECTION_CONNECTIONS] = sizeof(struct tws_connection),
    [TWS_SECTION_DESTINATIONS] = sizeof(struct tws_destination),
    [TWS_SECTION_ARMS] = sizeof(struct tws_arm),
    [TWS_SECTION_RULES] = sizeof(struct tws_rule_status),
    [TWS_SECTION_ENDED] = sizeof(struct tws_ended),
    [TWS_SECTION_TIME_WAIT] = sizeof(uint64_t),
    [TWS_SECTION_FOLDED] = sizeof(struct tws_folded),
};

static const char *validate_origin(const struct tws_header *header, uint64_t length)
{
	const uint64_t known = offsetof(struct tws_header, size);

	if (length < known)
		return "truncated header";
	if (header->magic == __builtin_bswap64(TWS_MAGIC))
		return "foreign byte order";
	if (header->magic != TWS_MAGIC)
		return "no segment: wrong magic";
	if (header->byte_order != TWS_BYTE_ORDER)
		return "foreign byte order";
	if (header->abi_major != TWS_ABI_MAJOR)
		return "another ABI version";
	if (length < sizeof(*header))
		return "truncated header";
	return NULL;
}

static bool are_terminated(const struct tws_names *names)
{
	return memchr(names->given, '\0', sizeof(names->given)) &&
	       memchr(names->unit, '\0', sizeof(names->unit)) &&
	       memchr(names->container, '\0', sizeof(names->container)) &&
	       memchr(names->script, '\0', sizeof(names->script));
}

static const char *validate_header(const struct tws_header *header, uint64_t size)
{
	if (header->size > size)
		return "truncated";
	if (header->size < size)
		return "larger than its header says";
	if (header->header_size < sizeof(*header) || header->header_size > size)
		return "bad header size";
	if (header->section_count != TWS_SECTIONS)
		return "bad section count";
	if (header->state < TWS_SEGMENT_LIVE || header->state > TWS_SEGMENT_TOTALS)
		return "bad state";
	if (!memchr(header->exe, '\0', sizeof(header->exe)))
		return "unterminated executable path";
	if (!are_terminated(&header->names))
		return "unterminated name";
	return NULL;
}

const char *tws_section_validate(const struct tws_header *header, enum tws_section_id id)
{
	const struct tws_section *section = &header->section[id];

	/* An empty section is checked too, because a pointer to its place is made in
	 * any case. */
	if (section->offset > header->size)
		return "section outside the file";
	if (section->count == 0)
		return section->used ? "section used beyond its end" : NULL;
	if (section->element_size != element_sizes[id])
		return "bad element size";
	if (section->offset % SECTION_ALIGNMENT != 0)
		return "misaligned section";
	if (section->offset < header->header_size)
		return "section outside the file";
	if (section->count > (header->size - section->offset) / section->element_size)
		return "section outside the file";
	if (section->used > section->count)
		return "section used beyond its end";
	return NULL;
}

const char *tws_segment_validate(const struct tws_header *header, uint64_t length,
				 uint64_t size)
{
	const char *why = validate_origin(header, length);

	if (!why)
		why = validate_header(header, size);
	for (unsigned id = 0; !why && id < TWS_SECTIONS; id++)
		why = tws_section_validate(header, (enum tws_section_id)id);
	if (!why && header->section[TWS_SECTION_PROCESS].count != 1)
		why = "no process section";
	return why;
}

#define HISTOGRAM(name, unit, first_octave, help)                                        \
	TWS_ASSERT((first_octave) > 0 && (first_octave) + TWS_BUCKETS / 2 < 64);
#include "shim/shared/counters.def"

/* ------------------------------------------------------------- a new segment */

static uint64_t lay_section(struct tws_header *header, enum tws_section_id id,
			    size_t element, uint32_t count, uint64_t offset)
{
	header->section[id].offset = offset;
	header->section[id].element_size = (uint32_t)element;
	header->section[id].count = count;
	return (offset + element * count + 63) / 64 * 64;
}

static uint32_t or_usual(uint32_t value, uint32_t usual)
{
	return value ? value : usual;
}

void tws_segment_lay_out(struct tws_header *header, const struct tws_segment_sizes *sizes)
{
	uint64_t end = 4096;

	end =
	    lay_section(header, TWS_SECTION_PROCESS, sizeof(struct tws_counters), 1, end);
	end = lay_section(header, TWS_SECTION_FOLDED, sizeof(struct tws_folded), 0, end);
	end = lay_section(header, TWS_SECTION_RULES, sizeof(struct tws_rule_status),
			  TWS_RULES, end);
	end =
	    lay_section(header, TWS_SECTION_ARMS, sizeof(struct tws_arm), TWS_ARMS, end);
	end =
	    lay_section(header, TWS_SECTION_DESTINATIONS, sizeof(struct tws_destination),
			or_usual(sizes->destinations, 320), end);
	end = lay_section(header, TWS_SECTION_CONNECTIONS, sizeof(struct tws_connection),
			  or_usual(sizes->connections, 5120), end);
	end = lay_section(header, TWS_SECTION_ENDED, sizeof(struct tws_ended),
			  or_usual(sizes->ended, 2048), end);
	end = lay_section(header, TWS_SECTION_TIME_WAIT, sizeof(uint64_t),
			  or_usual(sizes->time_wait, 65536), end);
	header->slices = (struct tws_section){
	    .offset = end, .element_size = sizeof(struct tws_slice), .count = TWS_SLICES};
	end += sizeof(struct tws_slice) * TWS_SLICES;
	header->size = (end + TWS_PROBE_ROOM + 4095) & ~4095ULL;
	header->abi_minor = TWS_ABI_MINOR;
	header->section[TWS_SECTION_PROCESS].ready = 1;
}

void tws_segment_begin(struct tws_header *header, const struct tws_header *layout)
{
	*header = *layout;
	header->magic = TWS_MAGIC;
	header->byte_order = TWS_BYTE_ORDER;
	header->abi_major = TWS_ABI_MAJOR;
	header->header_size = sizeof(*header);
	header->section_count = TWS_SECTIONS;
	header->section[TWS_SECTION_PROCESS].used = 1;
	header->state = TWS_SEGMENT_LIVE;
	*tws_segment_probe(header, header) = sizeof(uint64_t);
	((uint32_t *)(void *)((char *)header + header->size))[-1] = sizeof(uint64_t);
}
