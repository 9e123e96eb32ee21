/* SPDX-License-Identifier: MIT
 *
 * Reads segments for folding: a private copy, which is validated before use.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shim/shared/fold_parts.h"
#include "shim/shared/sys.h"
#include "shim/shared/layout.h"
#include "shim/shared/slices.h"

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

static bool copy_section(int fd, struct tws_header *header, const struct tws_section *at)
{
	uint32_t count = at->used < at->count ? at->used : at->count;

	return tws_fold_read(fd, (char *)header + at->offset,
			     (uint64_t)count * at->element_size, at->offset);
}

/* Reads only the used parts; the rest are holes. */
static bool copy_sections(int fd, struct tws_header *header)
{
	for (unsigned id = 0; id < TWS_SECTIONS; id++)
		if (!copy_section(fd, header, &header->section[id]))
			return false;
	return tws_slices_validate(header) || copy_section(fd, header, &header->slices);
}

static bool is_other_version(const struct tws_header *header)
{
	return header->magic == TWS_MAGIC && header->byte_order == TWS_BYTE_ORDER &&
	       header->abi_major != TWS_ABI_MAJOR;
}

/* Judges a file as the tools' reader does: what the reader skips is not folded either. */
static enum tws_fold_condition examine_file(int fd, struct tws_header *ret_header,
					    struct tws_fold_file *ret_file)
{
	struct stat stat = {0};
	long length;

	if (tws_sys2(SYS_fstat, fd, &stat) != 0)
		return TWS_FOLD_UNKNOWN;
	ret_file->size = (uint64_t)stat.st_size;
	if (stat.st_nlink == 0)
		return TWS_FOLD_ABSENT;
	if (!S_ISREG(stat.st_mode) || stat.st_nlink != 1 ||
	    stat.st_size > SIZE_MAX_SEGMENT)
		return TWS_FOLD_DAMAGED;
	length = tws_sys4(SYS_pread64, fd, ret_header, sizeof(*ret_header), 0);
	if (length < 0)
		return TWS_FOLD_UNKNOWN;
	if (is_other_version(ret_header))
		return TWS_FOLD_FOREIGN;
	return tws_segment_validate(ret_header, (uint64_t)length, ret_file->size)
		   ? TWS_FOLD_DAMAGED
		   : TWS_FOLD_GOOD;
}

static enum tws_fold_condition condition_of_failure(long error)
{
	switch (error) {
	case -ENOENT:
		return TWS_FOLD_ABSENT;
	case -ELOOP: /* a symbolic link */
	case -ENXIO: /* a socket */
		return TWS_FOLD_DAMAGED;
	default:
		return TWS_FOLD_UNKNOWN;
	}
}

int tws_fold_open(int directory, const char *name, struct tws_header *ret_header,
		  struct tws_fold_file *ret_file)
{
	int fd = (int)tws_sys4(SYS_openat, directory, name,
			       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);

	*ret_file = (struct tws_fold_file){.condition = TWS_FOLD_UNKNOWN};
	if (fd < 0) {
		ret_file->condition = condition_of_failure(fd);
		return -1;
	}
	ret_file->condition = examine_file(fd, ret_header, ret_file);
	if (ret_file->condition == TWS_FOLD_GOOD)
		return fd;
	tws_sys1(SYS_close, fd);
	return -1;
}

struct tws_header *tws_fold_read_segment(int directory, const char *name,
					 struct tws_fold_file *ret_file)
{
	struct tws_header header = {0};
	struct tws_header *ret;
	int fd = tws_fold_open(directory, name, &header, ret_file);

	if (fd < 0)
		return NULL;
	ret = tws_fold_allocate(ret_file->size);
	if (ret) {
		*ret = header;
		if (!copy_sections(fd, ret)) {
			tws_fold_release(ret, ret_file->size);
			ret = NULL;
		}
	}
	if (!ret)
		ret_file->condition = TWS_FOLD_UNKNOWN;
	tws_sys1(SYS_close, fd);
	return ret;
}
