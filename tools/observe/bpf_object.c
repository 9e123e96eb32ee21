/* SPDX-License-Identifier: MIT
 *
 * Includes the compiled program as bytes, by the assembler. Make runs it at the root of
 * the tree. If clang could not compile the program, TWSHIM_BPF is not defined and the
 * array is empty.
 */
#include "tools/observe/bpf_object.h"

#ifdef TWSHIM_BPF
#define INCLUDE ".incbin \"" TWSHIM_BPF "\"\n"
#else
#define INCLUDE
#endif

__asm__(".pushsection .rodata\n"
	".balign 8\n"
	".global bpf_object\n"
	"bpf_object:\n" INCLUDE ".global bpf_object_end\n"
	"bpf_object_end:\n"
	".byte 0\n"
	".popsection\n");
