/* SPDX-License-Identifier: MIT
 *
 * Reading segments for folding: a private copy, validated before it is believed.
 */
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/fold_parts.h"
#include "shim/sys.h"

#define SIZE_MAX_SEGMENT (64u << 20)

void *tws_fold_allocate(uint64_t size)
{
	long ret = tws_sys6(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return ret < 0 && ret > -4096 ? NULL : (void *)ret;
}

void tws_fold_release(void *memory, uint64_t size)
{
	if (memory)
		tws_sys2(SYS_munmap, memory, size);
}

bool tws_fold_read(int fd, void *bytes, uint64_t size, uint64_t offset)
{
	return tws_sys4(SYS_pread64, fd, bytes, size, offset) == (long)size;
}

/* The used parts only: the rest is holes. */
static bool read_sections(int fd, struct tws_header *header)
{
	for (unsigned id = 0; id < TWS_SECTIONS; id++) {
		const struct tws_section *at = &header->section[id];
		uint32_t count = at->used < at->count ? at->used : at->count;

		if (!tws_fold_read(fd, (char *)header + at->offset,
				   (uint64_t)count * at->element_size, at->offset))
			return false;
	}
	return true;
}

bool tws_fold_read_header(int fd, struct tws_header *ret_header, uint64_t *ret_size)
{
	struct stat stat = {0};

	if (tws_sys2(SYS_fstat, fd, &stat) != 0 || !S_ISREG(stat.st_mode) ||
	    stat.st_size > SIZE_MAX_SEGMENT ||
	    !tws_fold_read(fd, ret_header, sizeof(*ret_header), 0))
		return false;
	*ret_size = (uint64_t)stat.st_size;
	return !tws_segment_validate(ret_header, sizeof(*ret_header), *ret_size);
}

int tws_fold_open(int directory, const char *name)
{
	return (int)tws_sys4(SYS_openat, directory, name,
			     O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
}

/* A private copy of a segment or totals file; NULL: not to be had or not to be believed.
 */
struct tws_header *tws_fold_read_segment(int directory, const char *name,
					 uint64_t *ret_size)
{
	struct tws_header header = {0};
	struct tws_header *ret = NULL;
	int fd = tws_fold_open(directory, name);

	if (fd < 0)
		return NULL;
	if (tws_fold_read_header(fd, &header, ret_size))
		ret = tws_fold_allocate(*ret_size);
	if (ret) {
		*ret = header;
		if (!read_sections(fd, ret)) {
			tws_fold_release(ret, *ret_size);
			ret = NULL;
		}
	}
	tws_sys1(SYS_close, fd);
	return ret;
}
