/* SPDX-License-Identifier: MIT
 *
 * twshim.bpf.c, compiled and embedded at build time. Its size is 0 if it could not be
 * compiled.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_OBJECT_H
#define TWS_TOOLS_OBSERVE_BPF_OBJECT_H

extern const char bpf_object[], bpf_object_end[];

#endif
