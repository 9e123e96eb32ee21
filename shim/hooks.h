/* SPDX-License-Identifier: MIT
 *
 * What a wrapped call means for the shim: one pair of functions (before and after the
 * real call), or one function, for each meaning. entry*.c joins them with the real
 * calls, so that close() and syscall(SYS_close) look the same to all the code below. All
 * functions preserve errno.
 */
#ifndef TWS_SHIM_HOOKS_H
#define TWS_SHIM_HOOKS_H

#include <stdio.h>
#include <sys/socket.h>

#include "shim/shared/helper.h"
#include "shim/conn/conn.h"

/* By this call number, one copy of the library asks whether another is behind it. */
#define TWS_ARE_YOU_THERE 0x77736869L
#define TWS_I_AM	  0x77736d65L

/* The environment variable in which one image names its segments to the next. */
#define TWS_HANDOVER "TWSHIM_HANDOVER"

/* ------ hook_open.c, hook_connect.c, hook_connected.c, hook_rights.c: born */

/* A new descriptor of any kind was made. If its number is in the table, the former
 * connection has gone unseen. `word`: the new table word. */
TWS_OURS void tws_hook_made(int fd, uint32_t word);
TWS_OURS void tws_hook_socket(int fd, int domain, int type, int protocol);
void tws_hook_bind(int fd, const struct sockaddr *address, socklen_t length);
void tws_hook_bound(int fd, const struct sockaddr *address, socklen_t length);

/* bind() failed with `error`. Whether to call it again: a policy has just made a
 * difference. */
bool tws_hook_bind_again(int fd, int error);
void tws_hook_bind_failed(int fd, int error);

/* Before the program asks for its own address. */
void tws_hook_getsockname(int fd);

/* The socket listens, so it will open no connection and leaves the table. */
void tws_hook_listening(int fd);

struct tws_connecting {
	struct tws_conn conn; /* book NULL: there is nothing to do afterwards */
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
/* `error`: the errno of a failed call, or 0. `sent`: the call was sendto() or one of
 * its kin. */
TWS_OURS void tws_hook_connected(int fd, const struct sockaddr *address, socklen_t length,
				 struct tws_connecting *connecting, int error, bool sent);

/* Descriptors in an SCM_RIGHTS message: those sent are shared from now on, and those
 * received are adopted. Called after the kernel has read or filled the message; `fd`
 * is the socket that carried it. */
void tws_hook_rights_sent(int fd, const struct msghdr *message);
void tws_hook_rights_received(struct msghdr *message);

/* ------------------------------------------------ hook_close.c: dies */

/* Called before and after every call that closes a descriptor. For a descriptor that
 * is not ours, the pair costs one look. Returns whether there is something to do after.
 */
TWS_OURS bool tws_hook_close(int fd, enum tws_via via, struct tws_end *ret_end);
TWS_COLD void tws_hook_settle(struct tws_end *end);

static inline void tws_hook_closed(struct tws_end *end)
{
	if (tws_unlikely(end->ends && (end->shared || end->recheck)))
		tws_hook_settle(end);
}

/* For exit and close_range, after which nothing can be asked: settles with what the
 * look before has found. */
void tws_hook_went(struct tws_end *end);

/* Ends all of our connections in a range (last inclusive) before the real call.
 * closefrom() always closes them; close_range() only if the kernel accepts its flags. */
void tws_hook_close_from(unsigned first);
void tws_hook_close_range(unsigned first, unsigned last, int flags);

/* dup2() and dup3(), before and after: `to` is overwritten if `result` equals `to`. */
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
void tws_hook_shut(int fd, const struct tws_conn *conn, int how, bool peer_first);

/* ------------------------------------------- hook_process.c: processes */

/* The process exits, and every connection ends. */
void tws_hook_exit(void);

/* Before a clone() or clone3(), with its flags or its arguments. */
void tws_hook_clone(uint64_t flags);
void tws_hook_clone3(const void *arguments);

/* Called before and after an exec, which may fail. `ret_handover` is NAME=VALUE for
 * the environment of the new image; empty if there is nothing to pass on. */
struct tws_exec {
	size_t strings; /* of the environment, for the caller's use */
	char handover[1040];
	char target[TWS_HELPER_TARGET_SIZE]; /* for the helper; or empty */
};
void tws_hook_exec(struct tws_exec *ret_exec);
void tws_hook_exec_failed(void);

/* Called after a call that changed the user IDs of this process or of one of its
 * threads. */
TWS_COLD void tws_hook_user_changed(void);

/* Called before chroot(). */
TWS_COLD void tws_hook_chroot(void);

/* Called in the new image: takes over the connections that stayed open. */
void tws_hook_take_over(void);

#endif
