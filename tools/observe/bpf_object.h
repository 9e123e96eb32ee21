/* SPDX-License-Identifier: MIT
 *
 * What runs in the kernel, NAME.bpf.c, compiled and embedded at build time as NAME_bpf.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_OBJECT_H
#define TWS_TOOLS_OBSERVE_BPF_OBJECT_H

#include <stdbool.h>

#define BPF_OBJECTS(OBJECT)                                                              \
	OBJECT(twshim)                                                                   \
	OBJECT(words)

#define OBJECT(name) extern const char name##_bpf[], name##_bpf_end[];
BPF_OBJECTS(OBJECT)
#undef OBJECT

/* Whether they could be compiled. If not, they are empty. */
bool bpf_object_is_built(void);

#endif
