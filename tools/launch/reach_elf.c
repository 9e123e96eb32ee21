/* SPDX-License-Identifier: MIT
 *
 * What an executable file says about itself. Read with libelf, for any class and any
 * machine.
 */
#include "tools/launch/reach.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <string.h>
#include <unistd.h>

static void read_loader(int fd, const GElf_Phdr *header, struct reach_elf *elf)
{
	size_t size = header->p_filesz;
	ssize_t length;

	if (size >= sizeof(elf->loader))
		size = sizeof(elf->loader) - 1;
	length = pread(fd, elf->loader, size, (off_t)header->p_offset);
	elf->loader[length > 0 ? length : 0] = '\0';
}

/* Go's linker leaves a note of the owner "Go", also in programs without symbols. */
static bool has_go_note(Elf *file, const GElf_Phdr *header)
{
	Elf_Data *data = elf_getdata_rawchunk(file, (int64_t)header->p_offset,
					      header->p_filesz, ELF_T_NHDR);
	size_t at = 0, name, description;
	GElf_Nhdr note;

	while (data && (at = gelf_getnote(data, at, &note, &name, &description)) > 0)
		if (note.n_namesz == 4 &&
		    memcmp((char *)data->d_buf + name, "Go\0", 4) == 0)
			return true;
	return false;
}

static bool has_go_section(Elf *file)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	const char *name;
	size_t names;

	if (elf_getshdrstrndx(file, &names) != 0)
		return false;
	while ((section = elf_nextscn(file, section)) != NULL) {
		name = gelf_getshdr(section, &header)
			   ? elf_strptr(file, names, header.sh_name)
			   : NULL;
		if (name && (strcmp(name, ".go.buildinfo") == 0 ||
			     strcmp(name, ".note.go.buildid") == 0))
			return true;
	}
	return false;
}

/* libasan.so.8 of gcc, libclang_rt.asan-x86_64.so of clang, libhwasan.so.0. */
static bool needs_asan(Elf *file)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	Elf_Data *data;
	GElf_Dyn entry;

	while ((section = elf_nextscn(file, section)) != NULL) {
		if (!gelf_getshdr(section, &header) || header.sh_type != SHT_DYNAMIC)
			continue;
		data = elf_getdata(section, NULL);
		for (int i = 0; data && gelf_getdyn(data, i, &entry); i++) {
			const char *name =
			    entry.d_tag == DT_NEEDED
				? elf_strptr(file, header.sh_link, entry.d_un.d_val)
				: NULL;

			if (name && strstr(name, "asan"))
				return true;
		}
	}
	return false;
}

static void read_program_headers(int fd, Elf *file, struct reach_elf *elf)
{
	GElf_Phdr header;
	size_t count;

	if (elf_getphdrnum(file, &count) != 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (!gelf_getphdr(file, (int)i, &header))
			return;
		if (header.p_type == PT_INTERP)
			read_loader(fd, &header, elf);
		if (header.p_type == PT_NOTE)
			elf->is_go |= has_go_note(file, &header);
	}
}

static bool read_headers(int fd, Elf *file, struct reach_elf *elf)
{
	GElf_Ehdr header;

	if (elf_kind(file) != ELF_K_ELF || !gelf_getehdr(file, &header))
		return false;
	elf->is_elf = true;
	elf->class = header.e_ident[EI_CLASS];
	elf->machine = header.e_machine;
	elf->is_program = header.e_type == ET_EXEC || header.e_type == ET_DYN;
	elf->is_go = has_go_section(file);
	elf->needs_asan = needs_asan(file);
	read_program_headers(fd, file, elf);
	return true;
}

bool reach_read_elf(int fd, struct reach_elf *ret_elf)
{
	bool ret;
	Elf *file;

	*ret_elf = (struct reach_elf){0};
	elf_version(EV_CURRENT);
	file = elf_begin(fd, ELF_C_READ, NULL);
	if (!file)
		return false;
	ret = read_headers(fd, file, ret_elf);
	elf_end(file);
	return ret;
}
