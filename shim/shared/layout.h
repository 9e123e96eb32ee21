/* SPDX-License-Identifier: MIT
 *
 * Which file is a usable segment, and how a new one is laid out. Pure; the shim and the
 * tools use the same functions.
 */
#ifndef TWS_SHIM_LAYOUT_H
#define TWS_SHIM_LAYOUT_H

#include "shim/shared/segment.h"

/* Says why a file is not a usable segment; NULL: it is one. `size` is the size of the
 * file, `header` a private copy of its first bytes, of which `length` could be read.
 * Pure. */
const char *tws_segment_validate(const struct tws_header *header, uint64_t length,
				 uint64_t size);

/* Says why a section of the header cannot be read from a file of header->size bytes;
 * NULL if it can. An empty section can be read. Pure. */
const char *tws_section_validate(const struct tws_header *header, enum tws_section_id id);

/* How many elements each section has; 0: the usual number. */
struct tws_segment_sizes {
	uint32_t connections, destinations, ended, time_wait;
};

#define TWS_SHORT_LIVED_MS 1000 /* unless a policy says otherwise */

/* Lays out the sections of a new segment, and with them its size. Pure. */
void tws_segment_lay_out(struct tws_header *header,
			 const struct tws_segment_sizes *sizes);

/* The word at the end of a mapped segment that is always 8 (tws_header.size): the first
 * one of its last TWS_PROBE_ROOM bytes. A call whose length is in the last 64 bytes of a
 * page takes the kernel 571 ns instead of 265 (measured). Before ABI minor
 * TWS_PROBE_MINOR it was the last word, which is still 8 for older shims. */
#define TWS_PROBE_ROOM	128
#define TWS_PROBE_MINOR 8

static inline uint32_t *tws_segment_probe(void *mapping, const struct tws_header *layout)
{
	uint64_t room =
	    layout->abi_minor >= TWS_PROBE_MINOR ? TWS_PROBE_ROOM : sizeof(uint32_t);

	return (void *)((char *)mapping + layout->size - room);
}

/* Fills the header and the last words of a new mapped segment of the size that was laid
 * out. `layout` also says which process it belongs to. */
void tws_segment_begin(struct tws_header *header, const struct tws_header *layout);

#endif
