/* SPDX-License-Identifier: MIT
 *
 * Finds the clock function in the page that the kernel maps into every process. It is a
 * small ELF library, whose symbols are read as the loader reads them.
 */
#include "shim/shared/clock.h"

#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>

#include "shim/shared/hot.h"
#include "shim/shared/sys.h"

#if defined(__aarch64__)
#define SYMBOL "__kernel_clock_gettime"
#else
#define SYMBOL "__vdso_clock_gettime"
#endif

static int by_system_call(clockid_t clock, struct timespec *ret_time)
{
	return (int)tws_sys2(SYS_clock_gettime, clock, ret_time);
}

TWS_HOT_DATA int (*tws_clock)(clockid_t clock,
			      struct timespec *ret_time) = by_system_call;

struct library {
	const char *bias; /* the offset of its addresses */
	const ElfW(Dyn) * dynamic;
	const ElfW(Sym) * symbols;
	const char *names;
	size_t names_size;
};

static bool read_segments(const ElfW(Ehdr) * file, struct library *ret)
{
	const char *start = (const char *)file;
	const ElfW(Phdr) *at = (const void *)(start + file->e_phoff);

	*ret = (struct library){0};
	for (unsigned i = 0; i < file->e_phnum; i++, at++) {
		if (at->p_type == PT_LOAD && !ret->bias)
			ret->bias = start + at->p_offset - at->p_vaddr;
		if (at->p_type == PT_DYNAMIC)
			ret->dynamic = (const void *)(start + at->p_offset);
	}
	return ret->bias && ret->dynamic;
}

static bool read_dynamic(struct library *library)
{
	for (const ElfW(Dyn) *at = library->dynamic; at->d_tag != DT_NULL; at++) {
		const char *there = library->bias + at->d_un.d_ptr;

		if (at->d_tag == DT_SYMTAB)
			library->symbols = (const void *)there;
		else if (at->d_tag == DT_STRTAB)
			library->names = there;
		else if (at->d_tag == DT_STRSZ)
			library->names_size = at->d_un.d_val;
	}
	return library->symbols && library->names > (const char *)library->symbols;
}

/* The kernel links the names directly behind the symbols. */
static const void *find_clock(const struct library *library, const char *name)
{
	const ElfW(Sym) *end = (const void *)library->names;

	for (const ElfW(Sym) *at = library->symbols; at + 1 <= end; at++)
		if (at->st_shndx != SHN_UNDEF &&
		    at->st_name + strlen(name) < library->names_size &&
		    strcmp(library->names + at->st_name, name) == 0)
			return library->bias + at->st_value;
	return NULL;
}

/* getauxval() sets errno if there is no such page: under valgrind, in qemu-user, and
 * with vdso=0. */
static const ElfW(Ehdr) * kernels_page(void)
{
	int kept = errno;
	const ElfW(Ehdr) *ret = (const void *)(uintptr_t)getauxval(AT_SYSINFO_EHDR);

	errno = kept;
	return ret;
}

void tws_clock_begin(void)
{
	const ElfW(Ehdr) *file = kernels_page();
	struct library library;
	const void *found;

	if (!file || memcmp(file->e_ident, ELFMAG, SELFMAG) != 0 ||
	    !read_segments(file, &library) || !read_dynamic(&library))
		return;
	found = find_clock(&library, SYMBOL);
	if (found)
		__atomic_store_n((const void **)(void *)&tws_clock, found,
				 __ATOMIC_RELEASE);
}
