/* SPDX-License-Identifier: MIT
 *
 * Includes the compiled programs as bytes, by the assembler. Make runs it at the root of
 * the tree. If clang could not compile them, TWSHIM_BPF, the folder that they are in, is
 * not defined and the arrays are empty.
 */
#include "tools/observe/bpf_object.h"

#ifdef TWSHIM_BPF
#define INCLUDE(name) ".incbin \"" TWSHIM_BPF "/" #name ".bpf.o\"\n"
#else
#define INCLUDE(name)
#endif

#define OBJECT(name)                                                                     \
	__asm__(".pushsection .rodata\n"                                                 \
		".balign 8\n"                                                            \
		".global " #name "_bpf\n" #name                                          \
		"_bpf:\n" INCLUDE(name) ".global " #name "_bpf_end\n" #name              \
					"_bpf_end:\n"                                    \
					".byte 0\n"                                      \
					".popsection\n");
BPF_OBJECTS(OBJECT)
#undef OBJECT

bool bpf_object_is_built(void)
{
	return &twshim_bpf[0] != &twshim_bpf_end[0];
}
