/* SPDX-License-Identifier: MIT
 *
 * The kernel's last words about TCP sockets, from a program of ours in the kernel: only
 * of sockets with a cookie, which a server's sockets have not, and without a message.
 */
#ifndef TWS_TOOLS_OBSERVE_WORDS_H
#define TWS_TOOLS_OBSERVE_WORDS_H

struct kernel_source;

/* For kernel_listener_open(). NULL: this user may not load programs. Whether they can be
 * loaded here shows when it is opened. */
const struct kernel_source *words_source(void);

#endif
