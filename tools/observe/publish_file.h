/* SPDX-License-Identifier: MIT
 *
 * The file of one process. It is completed under a temporary name, mapped, and backed
 * with memory piece by piece, so that a full tmpfs is an error and not a SIGBUS. Part of
 * publish.c.
 */
#ifndef TWS_TOOLS_OBSERVE_PUBLISH_FILE_H
#define TWS_TOOLS_OBSERVE_PUBLISH_FILE_H

#include "tools/observe/publish.h"

struct publish_file {
	struct tws_header *header; /* mapped; NULL: there is none */
	struct tws_section section[TWS_SECTIONS];
	uint64_t size;
	uint32_t ready[TWS_SECTIONS]; /* elements backed by memory */
	struct tws_section slices;
	uint32_t slices_ready;
};

/* The observer; the same in each file. */
struct publish_writer {
	enum tws_observer source;
	uint32_t pid;
	uint64_t pid_namespace;
	uint64_t start_time;
	uint8_t boot_id[16];
	uint8_t run[TWS_RUN_SIZE]; /* all 0: none */
};

/* Fills in the observer: this process. */
void publish_writer_init(struct publish_writer *ret_writer, enum tws_observer source);

/* Makes the file in an open directory. Returns 0 or -errno. */
int publish_file_make(struct publish_file *ret_file, const struct publish_writer *writer,
		      const struct publish_subject *subject, int directory);

/* Unmaps it; the file stays. */
void publish_file_close(struct publish_file *file);

/* Makes elements 0 to index safe to touch, and records them as used. False: there is
 * no memory for them, or the element does not exist. */
bool publish_file_reach(struct publish_file *file, enum tws_section_id id,
			uint32_t index);

/* Keeps what a destination (TWS_SLICE_PROCESS: the process section) had counted, if an
 * event at `now` is its first in a slice of time; see shim/shared/slices.h. */
void publish_file_note(struct publish_file *file, uint32_t destination, uint64_t now);

/* Returns element `index` of a section, which must have been made safe to touch. */
static inline void *publish_file_at(const struct publish_file *file,
				    enum tws_section_id id, uint32_t index)
{
	return (char *)file->header + file->section[id].offset +
	       (uint64_t)index * file->section[id].element_size;
}

#endif
