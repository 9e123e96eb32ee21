/* SPDX-License-Identifier: MIT
 *
 * Reads an executable as the kernel and the loader do. An exec may happen in a vfork
 * child or on the small stack of a signal handler, so everything is read in small pieces.
 */
#include "shim/supervised.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/conn/peek.h"
#include "shim/shared/newer.h"
#include "shim/shared/sys.h"
#include "shim/shared/text.h"

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#endif
#define HEADERS_MAX 64
#define GO_NOTE	    4 /* the type of Go's build id */

#ifdef OWN_MACHINE
static bool read_at(int fd, void *to, size_t size, uint64_t offset)
{
	return tws_sys4(SYS_pread64, fd, to, size, offset) == (long)size;
}

static bool contains(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

/* glibc's and musl's, which both load the shim. */
static bool is_known_loader(const char *path)
{
	return contains(path, "/ld-linux") || contains(path, "/ld64.so") ||
	       contains(path, "/ld.so") || contains(path, "/ld-musl-");
}

/* Its first bytes are enough to tell. */
static bool is_foreign_loader(int fd, const Elf64_Phdr *header)
{
	char path[64] = {0};
	size_t size =
	    header->p_filesz < sizeof(path) ? header->p_filesz : sizeof(path) - 1;

	return read_at(fd, path, size, header->p_offset) && !is_known_loader(path);
}

static bool is_go_note(int fd, const Elf64_Phdr *header)
{
	struct {
		Elf64_Nhdr note;
		char name[4];
	} first = {0};

	return header->p_filesz >= sizeof(first) &&
	       read_at(fd, &first, sizeof(first), header->p_offset) &&
	       first.note.n_type == GO_NOTE && first.note.n_namesz == 4 &&
	       memcmp(first.name, "Go", 3) == 0;
}

static bool is_own_elf(int fd, Elf64_Ehdr *ret_elf)
{
	return read_at(fd, ret_elf, sizeof(*ret_elf), 0) &&
	       memcmp(ret_elf->e_ident, ELFMAG, SELFMAG) == 0 &&
	       ret_elf->e_ident[EI_CLASS] == ELFCLASS64 &&
	       ret_elf->e_machine == OWN_MACHINE &&
	       ret_elf->e_phentsize == sizeof(Elf64_Phdr) &&
	       ret_elf->e_phnum <= HEADERS_MAX;
}

static bool is_unreached(int fd)
{
	bool has_loader = false;
	Elf64_Ehdr elf = {0};
	Elf64_Phdr header = {0};

	if (!is_own_elf(fd, &elf))
		return false;
	for (unsigned i = 0; i < elf.e_phnum; i++) {
		if (!read_at(fd, &header, sizeof(header),
			     elf.e_phoff + i * sizeof(header)))
			return false;
		if (header.p_type == PT_INTERP && is_foreign_loader(fd, &header))
			return true;
		if (header.p_type == PT_NOTE && is_go_note(fd, &header))
			return true;
		has_loader |= header.p_type == PT_INTERP;
	}
	return !has_loader;
}
#else
static bool is_known_loader(const char *path)
{
	return false;
}

static bool is_unreached(int fd)
{
	return false;
}
#endif

/* The loader may ignore LD_PRELOAD. A filter would take the privileges away that it
 * gains, so the helper only says that nobody observes it. */
static bool may_gain(int fd, const struct stat *stat)
{
	return stat->st_mode & (S_ISUID | S_ISGID) ||
	       tws_sys4(TWS_RARELY(SYS_fgetxattr), fd, "security.capability", 0, 0) > 0;
}

static bool is_helpers(int fd)
{
	struct stat stat = {0};

	return tws_sys2(SYS_fstat, fd, &stat) == 0 && S_ISREG(stat.st_mode) &&
	       (may_gain(fd, &stat) || is_unreached(fd));
}

static bool may_execute(const char *path)
{
	return tws_sys4(TWS_RARELY(SYS_faccessat2), AT_FDCWD, path, X_OK, AT_EACCESS) ==
	       0;
}

/* False: the path is too long, or it is the loader, which runs another program. */
static bool note_target(const char *path, struct tws_exec *exec)
{
	struct tws_text text = tws_text_begin(exec->target, sizeof(exec->target));

	tws_text_add(&text, TWS_HELPER_TARGET "=");
	tws_text_add(&text, path);
	if (text.at < text.end && !is_known_loader(path))
		return true;
	exec->target[0] = '\0';
	return false;
}

bool tws_supervised_find(const char *path, struct tws_exec *exec)
{
	int fd = (int)tws_sys4(SYS_openat, AT_FDCWD, path,
			       O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	bool found;

	exec->target[0] = '\0';
	if (fd < 0)
		return false;
	found = is_helpers(fd) && may_execute(path) && note_target(path, exec);
	tws_sys1(SYS_close, fd);
	return found;
}

/* "DIRECTORY/FILE" of the first part of a list; how long that part is. */
static size_t join_first(const char *list, const char *file, char *ret_path, size_t size)
{
	struct tws_text text = tws_text_begin(ret_path, size);
	size_t length = strcspn(list, ":");

	for (size_t i = 0; i < length && text.at < text.end; i++)
		*text.at++ = list[i];
	if (length)
		tws_text_add(&text, "/");
	tws_text_add(&text, file);
	if (text.at == text.end)
		ret_path[0] = '\0';
	return length;
}

/* As execvp() looks: the first file that can be executed. */
bool tws_supervised_search(const char *file, struct tws_exec *exec)
{
	const char *list = getenv("PATH");
	char path[TWS_HELPER_TARGET_SIZE];
	uintptr_t page = 0;

	for (const char *at = file; tws_peek_next(&page, at); at++) {
		if (*at == '/')
			return tws_supervised_find(file, exec);
		if (*at)
			continue;
		for (; list && *file; list++) {
			list += join_first(list, file, path, sizeof(path));
			if (path[0] && may_execute(path))
				return tws_supervised_find(path, exec);
			if (!*list)
				break;
		}
		return false;
	}
	return false;
}
