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

/* Fills the header and the last word of a new mapped segment of the size that was laid
 * out. `layout` also says which process it belongs to. */
void tws_segment_begin(struct tws_header *header, const struct tws_header *layout);

#endif
