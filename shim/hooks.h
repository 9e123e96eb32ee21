/* SPDX-License-Identifier: MIT
 *
 * What a wrapped call means for us: one pair of functions (before, after) or one function
 * for each meaning; entry.c joins them with the real calls, so that close() and
 * syscall(SYS_close) are the same to everything behind. All preserve errno.
 */
#ifndef TWS_SHIM_HOOKS_H
#define TWS_SHIM_HOOKS_H

#include <stdio.h>
#include <sys/socket.h>

#include "shim/conn/conn.h"

/* One copy of the library asks another whether it stands behind it. */
#define TWS_ARE_YOU_THERE 0x7477736869L
#define TWS_I_AM	  0x7477736d65L

/* Environment variable from a former image to its successor: names of segments. */
#define TWS_HANDOVER "TWSHIM_HANDOVER"

/* ------ hook_open.c, hook_connect.c, hook_connected.c, hook_rights.c: born */

/* A new descriptor of any kind came up: if its number is in the table, what was there is
 * gone unseen. `word`: its word from now on. */
TWS_OURS void tws_hook_made(int fd, uint32_t word);
TWS_OURS void tws_hook_socket(int fd, int domain, int type, int protocol);
void tws_hook_bind(int fd, const struct sockaddr *address, socklen_t length);
void tws_hook_bound(int fd, const struct sockaddr *address, socklen_t length);

/* bind() failed with `error`. */
void tws_hook_bind_failed(int fd, int error);

/* It will open no connection: nothing of ours any more. */
void tws_hook_listening(int fd);

struct tws_connecting {
	struct tws_conn conn; /* book NULL: nothing to be done afterwards */
	struct tws_tally tally;
	bool unnamed;	   /* its destination is not known yet */
	bool strange;	   /* a descriptor that we did not see made */
	bool repeated;	   /* on a socket that had its connect() */
	bool again;	   /* a connect() on a connecting socket */
	bool deferred;	   /* the SYN goes later (TCP_FASTOPEN_CONNECT) */
	bool disconnected; /* AF_UNSPEC */
	uint64_t began_ns;
	struct tws_end end; /* where disconnected */
};

TWS_OURS void tws_hook_connect(int fd, const struct sockaddr *address, socklen_t length,
			       struct tws_connecting *ret_connecting);
/* `error`: the errno of a failed call, 0: it succeeded. `sent`: by sendto() and kin. */
TWS_OURS void tws_hook_connected(int fd, const struct sockaddr *address, socklen_t length,
				 struct tws_connecting *connecting, int error, bool sent);

/* Descriptors in an SCM_RIGHTS message: sent ones are shared from now on, received ones
 * are adopted. To be called after the kernel has taken or filled the message, by `fd`. */
void tws_hook_rights_sent(int fd, const struct msghdr *message);
void tws_hook_rights_received(struct msghdr *message);

/* ------------------------------------------------ hook_close.c: dies */

/* Before and after whatever takes the descriptor away. The pair costs one look for a
 * descriptor that is none of ours. */
TWS_OURS bool tws_hook_close(int fd, enum tws_via via, struct tws_end *ret_end);
TWS_COLD void tws_hook_settle(struct tws_end *end);

static inline void tws_hook_closed(struct tws_end *end)
{
	if (tws_unlikely(end->ends && (end->shared || end->recheck)))
		tws_hook_settle(end);
}

/* Where nothing can be asked afterwards (exit, a range): the look before has to do. */
void tws_hook_went(struct tws_end *end);

/* Over a range, last inclusive: all of ours in it end before the real call, which closes
 * them whatever the kernel is (closefrom), or only if it takes these flags (close_range).
 */
void tws_hook_close_from(unsigned first);
void tws_hook_close_range(unsigned first, unsigned last, int flags);

/* dup2() and dup3(): `to` is about to be overwritten; and was, if `result` is `to`. */
void tws_hook_overwrite(int from, int to, int flags, struct tws_end *ret_end);
void tws_hook_overwritten(int from, int to, int result, struct tws_end *end);

/* `to` is now the same open file as `from`. */
void tws_hook_copied(int from, int to);
void tws_hook_kept_over_exec(int fd); /* FD_CLOEXEC was taken away */

/* ------------------------------------------- hook_option.c: changed */

/* fdopen(): a stream writes to the descriptor. */
void tws_hook_streamed(int fd);

void tws_hook_setsockopt(int fd, int level, int name, const void *value,
			 socklen_t length);
void tws_hook_getsockopt(int fd, int level, int name, const void *value,
			 const socklen_t *length);
void tws_hook_shutdown(int fd, int how, struct tws_conn *ret_conn, bool *ret_peer_first);
void tws_hook_shut(const struct tws_conn *conn, int how, bool peer_first);

/* ------------------------------------------- hook_process.c: processes */

/* The process goes: every connection ends. */
void tws_hook_exit(void);

/* Before a clone() or clone3(), with its flags or its arguments. */
void tws_hook_clone(uint64_t flags);
void tws_hook_clone3(const void *arguments);

/* Before and after an exec that may fail. `ret_handover` is what the
 * new image is to be told, as NAME=VALUE; empty: nothing. */
struct tws_exec {
	size_t strings; /* of the environment, for the caller's use */
	char handover[1040];
};
void tws_hook_exec(struct tws_exec *ret_exec);
void tws_hook_exec_failed(void);

/* After a call that has changed the user IDs of this process, or of one of its threads.
 */
TWS_COLD void tws_hook_user_changed(void);

/* In the new image: takes over connections that stayed open. */
void tws_hook_take_over(void);

#endif
