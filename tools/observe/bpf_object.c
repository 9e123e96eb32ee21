/* SPDX-License-Identifier: MIT
 *
 * The assembler takes the kernel's program in as it is. Make runs it at the root of the
 * tree; where clang could not make one, TWSHIM_BPF is not defined and it is empty.
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
