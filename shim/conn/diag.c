/* SPDX-License-Identifier: MIT
 *
 * One question to sock_diag, and one answer. inet_diag finds a socket by its 4-tuple and
 * checks the cookie, also for TIME_WAIT sockets.
 */
#include "shim/conn/diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/shared/pair.h"
#include "shim/shared/sys.h"

struct question {
	struct nlmsghdr header;
	struct inet_diag_req_v2 request;
};

static void fill_question(struct question *question, const struct tws_address *local,
			  const struct tws_address *remote, uint64_t cookie)
{
	struct inet_diag_sockid *id = &question->request.id;

	memset(question, 0, sizeof(*question));
	question->header.nlmsg_len = sizeof(*question);
	question->header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	question->header.nlmsg_flags = NLM_F_REQUEST;
	question->request.sdiag_family = remote->family == TWS_IPV6 ? AF_INET6 : AF_INET;
	question->request.sdiag_protocol = IPPROTO_TCP;
	question->request.idiag_states = ~0u;
	id->idiag_sport = htons(local->port);
	id->idiag_dport = htons(remote->port);
	memcpy(id->idiag_src, local->bytes, sizeof(local->bytes));
	memcpy(id->idiag_dst, remote->bytes, sizeof(remote->bytes));
	if (cookie & TWS_COOKIE_INODE)
		cookie = ~0ULL; /* INET_DIAG_NOCOOKIE, twice: any */
	id->idiag_cookie[0] = (uint32_t)cookie;
	id->idiag_cookie[1] = (uint32_t)(cookie >> 32);
}

static int read_answer(int fd)
{
	union {
		struct nlmsghdr header;
		char bytes[1024];
	} answer = {{0}};
	long length =
	    tws_sys6(SYS_recvfrom, fd, (long)&answer, sizeof(answer), MSG_DONTWAIT, 0, 0);

	if (length < (long)sizeof(answer.header))
		return length < 0 ? (int)length : -EPROTO;
	if (answer.header.nlmsg_type == NLMSG_ERROR) {
		struct nlmsgerr *error = NLMSG_DATA(&answer.header);

		return error->error == -ENOENT || error->error == -ESTALE ? 0
									  : error->error;
	}
	return ((struct inet_diag_msg *)NLMSG_DATA(&answer.header))->idiag_state;
}

int tws_diag_state(const struct tws_address *local, const struct tws_address *remote,
		   uint64_t cookie)
{
	struct question question;
	long ret;
	int fd = (int)tws_sys3(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
			       NETLINK_SOCK_DIAG);

	if (fd < 0)
		return fd;
	fill_question(&question, local, remote, cookie);
	ret = tws_sys6(SYS_sendto, fd, (long)&question, sizeof(question), 0, 0, 0);
	if (ret >= 0)
		ret = read_answer(fd);
	tws_sys1(SYS_close, fd);
	return (int)ret;
}
